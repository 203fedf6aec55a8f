"""What the doctor looks at on an application host: shell that prints the problems."""

from __future__ import annotations

NEEDS = """
needs() { for program in $1; do
    command -v "$program" >/dev/null || { echo "$program is not installed; run $2"; return 0; }
done; }
"""

# $1 the application, $2 cicd-converge, $3 whether it has a release, $4 whether we have a token.
# A write that a host's token must not do is tried in a way that Consul does for nobody: as a
# check-and-set against an index that no key has.
APPLICATION_HOST = (
    NEEDS
    + """
app=$1 converge=$2 published=$3 guarded=$4 list=/etc/apt/sources.list.d/cicd.list
token=/etc/cicd/consul-token
ask() { # METHOD PATH [OPTION...]; prints the status of Consul's answer
    method=$1 path=$2
    shift 2
    curl --silent --max-time 5 --output /dev/null --write-out '%{http_code}' "$@" \\
        --request "$method" --data x "$CONSUL_URL/v1/$path"
}
compares() { # KEY [OPTION...]; as a write, but for the index, which no key has
    key=$1
    shift
    ask PUT "kv/$KV_PREFIX/$app/$key?cas=4611686018427387904" "$@"
}
[ -x "$converge" ] || echo "$converge is missing; copy host/cicd-converge there"
needs jq "apt-get install jq"
needs curl "apt-get install curl"
needs flock "apt-get install util-linux"
if [ ! -f "/etc/cicd/$app.conf" ]; then
    echo "/etc/cicd/$app.conf is missing; run cicd-host-setup --app $app"
else
    CONSUL_URL=http://127.0.0.1:8500 KV_PREFIX=cicd
    . "/etc/cicd/$app.conf"
    again="put there what cicd-consul-token host prints and run cicd-host-setup again"
    if [ "$(ask GET status/leader)" != 200 ]; then
        echo "the Consul agent at $CONSUL_URL does not answer; start it"
    elif [ "$guarded" = yes ] && [ ! -f "$token" ]; then
        echo "$token is missing; $again"
    elif [ "$guarded" = yes ]; then
        find "$token" /etc/consul.d/cicd*.json -perm /077 |
            while read -r file; do echo "others can read $file; run chmod 600 $file"; done
        node=$(curl --silent --max-time 5 --header "@$token" "$CONSUL_URL/v1/agent/self" |
            sed -n 's/.*"NodeName": *"\\([^"]*\\)".*/\\1/p')
        [ "$(compares "hosts/$node" --header "@$token")" = 200 ] ||
            echo "Consul does not take the token in $token for $app on this host; $again"
        for key in events_seen freeze lock "stages/$STAGE/version" "members/$node" hosts/another; do
            [ "$(compares "$key" --header "@$token")" = 403 ] ||
                echo "the token in $token can write $KV_PREFIX/$app/$key; $again"
        done
        [ "$(compares "hosts/$node")" = 403 ] ||
            echo "Consul takes keys without a token; set acl.default_policy to deny"
    fi
fi
if [ ! -f "$list" ]; then
    echo "$list is missing; add the line for our APT repository"
elif ! grep -q 'valid-until-max=' "$list"; then
    echo "$list takes an index of any age; add valid-until-max=1209600 to its options"
elif [ "$published" = yes ]; then
    said=$(apt-get -qq -o DPkg::Lock::Timeout=30 -o APT::Sandbox::User=root \\
        -o Dir::Etc::sourcelist="$list" -o Dir::Etc::sourceparts=- -o APT::Get::List-Cleanup=0 \\
        update 2>&1) || echo "could not update from $list: $(echo "$said" | tail -n 1)"
fi
"""
)

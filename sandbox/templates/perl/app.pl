#!/usr/bin/perl
# The web service of @NAME@: `perl app.pl PORT VERSION`. Needs nothing but Perl itself.
use strict;
use warnings;
use IO::Socket::INET;
use Sys::Hostname;

# The status line and the answer to a request for that path.
sub answer {
    my ($path, $version) = @_;
    return ('200 OK', sprintf '{"application": "@NAME@", "version": "%s", "host": "%s"}',
        $version, hostname())
        if $path eq '/';
    return ('200 OK', sprintf '{"version": "%s"}', $version) if $path eq '/health';
    return ('404 Not Found', '{"error": "no such page"}');
}

sub serve {
    my ($port, $version) = @_;
    $SIG{CHLD} = 'IGNORE';
    my $server = IO::Socket::INET->new(LocalPort => $port, Listen => 128, ReuseAddr => 1)
        or die "cannot listen on port $port: $@\n";
    while (1) {
        my $client = $server->accept or next;
        if (fork) { close $client; next }
        alarm 10;    # for all of a request
        my ($path) = (<$client> // '') =~ m{^GET (\S+)};
        while (defined(my $header = <$client>)) { last if $header =~ /^\r?$/ }
        my ($status, $body) = answer($path // '', $version);
        print $client "HTTP/1.1 $status\r\nContent-Type: application/json\r\n",
            'Content-Length: ', length $body, "\r\nConnection: close\r\n\r\n", $body;
        exit;
    }
}

serve(@ARGV) unless caller;
1;

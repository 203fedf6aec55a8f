"""Packages made with dpkg's own program and nothing else."""

from __future__ import annotations

from delivery.packaging import Packager
from delivery.packaging.layout import lay_out, pack

# On stdin the package's control file.
PACKAGE = r"""
mkdir package/tree/DEBIAN
cat > package/tree/DEBIAN/control
cp -p package/scripts/* package/tree/DEBIAN/
dpkg-deb --build --root-owner-group package/tree "package/$file" >package/dpkg-deb.log 2>&1 ||
    fail "dpkg-deb: $(tail -n 1 package/dpkg-deb.log)"
"""


class PlainDeb(Packager):
    name = "plain_deb"
    programs = ("dpkg-deb",)
    installed_by = "apt-get install dpkg"

    def build(self, workspace, recipe):
        lay_out(workspace, recipe, self)
        fields = {
            "Package": recipe.name,
            "Version": recipe.version,
            "Architecture": recipe.architecture,
            "Maintainer": recipe.metadata["maintainer"]["value"],
            "Depends": ", ".join(recipe.relations("depends")),
            "Description": f"{recipe.name}, packed plainly",
        }
        control = "".join(f"{key}: {value}\n" for key, value in fields.items() if value)
        return pack(workspace, recipe, PACKAGE, stdin=control.encode())

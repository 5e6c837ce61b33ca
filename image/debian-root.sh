#!/bin/sh
# Lays out the packages that the first argument lists, and nothing else, as a root file system in the folder that the second one names.
#
# Their scripts do not run. What those would have made is made here: the bundle of certificates, users, links. The packages' control files are kept where
# scanners of images look for them (/var/lib/dpkg/status.d, as in Distroless), and so are the licences.
set -eu
list=$1
root=$2
mkdir -p "$root"
for folder in bin sbin lib lib64; do  # as the base has them: links into /usr
    [ ! -L "/$folder" ] || { mkdir -p "$root/usr/$folder" && ln -s "usr/$folder" "$root/$folder"; }
done
mkdir -p "$root/var/lib/dpkg/status.d" /debs
chmod 777 /debs
apt-get update
cd /debs
apt-get download $(sed 's/#.*//' "$list")
for deb in *.deb; do
    dpkg-deb --fsys-tarfile "$deb" | tar -x --keep-directory-symlink -C "$root"
    dpkg-deb --field "$deb" > "$root/var/lib/dpkg/status.d/$(dpkg-deb --field "$deb" Package)"
done
cd "$root"
python=$(echo usr/lib/python3.*)

# The shells, tools and extension modules that nothing here uses, or whose libraries are not here: readline, curses, dbm, NIS, crypt, Tk.
rm -rf usr/share/doc-base usr/share/man usr/share/locale usr/share/lintian usr/share/bug usr/share/binfmts usr/share/applications usr/share/pixmaps \
    usr/sbin etc/update-motd.d etc/dpkg etc/skel etc/profile.d var/backups var/mail var/local var/lock var/run
mkdir -p usr/sbin run && ln -s /run var/run
for module in readline _curses _curses_panel _dbm nis _crypt _tkinter; do rm -f "$python/lib-dynload/$module".*.so; done
rm -rf "$python"/turtledemo "$python"/idlelib "$python"/lib2to3 "$python"/ensurepip "$python"/pydoc_data
find usr/share/doc -type f ! -name copyright -delete
find usr/share/doc -type l -delete
find . -depth -type d -empty -path './usr/share/doc/*' -exec rmdir {} +

mkdir -p etc/ssl/certs usr/lib/ssl
find usr/share/ca-certificates -name '*.crt' | LC_ALL=C sort | xargs cat > etc/ssl/certs/ca-certificates.crt
ln -s /etc/ssl/certs usr/lib/ssl/certs
ln -s /etc/ssl/certs/ca-certificates.crt usr/lib/ssl/cert.pem
rm -r usr/share/ca-certificates

printf 'root:x:0:0:root:/root:/nonexistent\nlaycan:x:65532:65532:laycan:/tmp:/nonexistent\n' > etc/passwd
printf 'root:x:0:\nlaycan:x:65532:\n' > etc/group
printf 'passwd: files\ngroup: files\nhosts: files dns\n' > etc/nsswitch.conf
mkdir -p etc/laycan var/lib/laycan
mkdir -p tmp var/tmp && chmod 1777 tmp var/tmp
chown 65532:65532 var/lib/laycan

# Bytecode, which Debian's scripts would have made.
chroot . "/usr/bin/${python##*/}" -m compileall -q --invalidation-mode unchecked-hash "/$python"
find . -exec touch -h -d @0 {} +

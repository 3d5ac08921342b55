package pgtest

import (
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
)

// account is the user a server runs as. The zero value is the current user.
type account struct {
	other    bool
	uid, gid uint32
}

// serverAccount picks the account: the current user, or for root the user
// postgres, or nobody where only the binaries were unpacked.
func serverAccount() (account, error) {
	if os.Getuid() != 0 {
		return account{}, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.ParseUint(u.Uid, 10, 32)
		if err != nil {
			return account{}, fmt.Errorf("user %s has uid %q: %w", name, u.Uid, err)
		}
		gid, err := strconv.ParseUint(u.Gid, 10, 32)
		if err != nil {
			return account{}, fmt.Errorf("user %s has gid %q: %w", name, u.Gid, err)
		}
		return account{other: true, uid: uint32(uid), gid: uint32(gid)}, nil
	}
	return account{}, fmt.Errorf("PostgreSQL does not run as root and there is neither a user postgres nor nobody; create one (useradd --system postgres)")
}

// workDir makes a directory the account can reach and owns.
func (a account) workDir() (string, error) {
	for _, base := range []string{os.TempDir(), "/tmp", "/var/tmp"} {
		if a.reaches(base) != nil {
			continue
		}
		dir, err := os.MkdirTemp(base, "onceguard-pg-")
		if err != nil {
			continue
		}
		return dir, a.own(dir)
	}
	return "", fmt.Errorf("no temporary directory that the server's account can reach; set TMPDIR to one")
}

// reaches reports why the account cannot get at path, as far as mode bits say.
func (a account) reaches(path string) error {
	if !a.other {
		return nil
	}
	for dir := filepath.Clean(path); ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err != nil {
			return err
		}
		if info.Mode().Perm()&0o001 == 0 {
			return fmt.Errorf("%s has mode %v: as root the server runs as uid %d, which cannot pass it; put the binaries where everyone can read them", dir, info.Mode().Perm(), a.uid)
		}
		if dir == filepath.Dir(dir) {
			return nil
		}
	}
}

// own gives a directory tree to the account.
func (a account) own(root string) error {
	if !a.other {
		return nil
	}
	return filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, int(a.uid), int(a.gid))
	})
}

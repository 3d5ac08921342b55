package sqlitestore

import "fmt"

// fsKind is what a file system means for a memory that must not forget.
type fsKind struct {
	name    string
	remote  bool   // SQLite's locks and shared memory do not hold across hosts
	warning string // it works, and people should know
	moves   bool   // inode numbers do not identify a file for good
}

const diesWithContainer = "the store is on %s: if that belongs to a container, this memory dies with the container; mount a volume for it"

// Magic numbers as of linux/magic.h and the file systems' own sources.
var fsKinds = map[int64]fsKind{
	0x6969:     {name: "NFS", remote: true},
	0x517b:     {name: "SMB", remote: true},
	0xff534d42: {name: "CIFS", remote: true},
	0xfe534d42: {name: "SMB2", remote: true},
	0x5346414f: {name: "AFS", remote: true},
	0x6b414653: {name: "AFS", remote: true},
	0x00c36400: {name: "Ceph", remote: true},
	0x73757245: {name: "Coda", remote: true},
	0x564c:     {name: "NCP", remote: true},
	0x0bd00bd0: {name: "Lustre", remote: true},
	0x47504653: {name: "GPFS", remote: true},
	0x01161970: {name: "GFS2", remote: true},
	0x7461636f: {name: "OCFS2", remote: true},
	0x794c7630: {name: "overlay", warning: diesWithContainer, moves: true},
	0x65735546: {name: "FUSE", warning: "the store is on %s: what a sync means there, and whether several hosts see the file, is up to the program behind it; use a local disk", moves: true},
	0x01021997: {name: "9P", warning: "the store is on %s: use it from one side only, since its locks do not hold between host and guest", moves: true},
	0x01021994: {name: "tmpfs", warning: "the store is on %s: this memory is lost at the next restart of the machine"},
	0x858458f6: {name: "ramfs", warning: "the store is on %s: this memory is lost at the next restart of the machine"},
}

// judge refuses a remote file system and returns the warnings of another.
func (k fsKind) judge(path string) ([]string, error) {
	if k.remote {
		return nil, refused("", "%s is on %s, where file locks do not keep two hosts apart: use a local disk, or PostgreSQL for several hosts", path, k.name)
	}
	if k.warning == "" {
		return nil, nil
	}
	return []string{fmt.Sprintf(k.warning, k.name)}, nil
}

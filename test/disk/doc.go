// Package disk makes disks go wrong, for tests of storage.
//
//	Mount   a FUSE file system that forgets at a power cut what was not synced,
//	        fails, stalls, fills up and turns read-only on demand
//	BrokenExt4  an ext4 on a block device that fails on demand
//	Ext4    a loop-mounted ext4 of a given size, a mount of its own
//	Tmpfs   a tmpfs of a given size
//	Extents in how many pieces a file lies (FIEMAP)
//
//	test ─▶ program under test ─▶ kernel ─▶ FUSE ─▶ model: live │ stable
//	                                                   Cut ─▶ image in a plain folder
//
// What the power cut leaves is the harshest that POSIX allows, not what one
// file system happens to do:
//   - bytes survive that an fsync or fdatasync of their file covered; of the
//     rest any subset of 4 KiB pages, and the size may be old or new;
//   - names survive that an fsync of their folder covered, with what they
//     depend on; of the rest (create, mkdir, unlink, rename) any subset that
//     can be applied in order. A rename is whole or not at all. An fsync of a
//     file does not keep its name;
//   - an fsync that fails loses what it should have written for good: the
//     pages count as clean, the next fsync succeeds without them.
//
// The subset is drawn from the seed of Mount, so that a failure can be had
// again. syncfs does nothing here, as on any FUSE: the kernel does not pass it
// on. Memory holds all data; it is meant for megabytes.
//
// What does not belong here: what a survivor must look like. That is for the
// tests.
//
// Goroutines: those of the FUSE server, which Close ends and waits for.
//
// Needs root, /dev/fuse, and for Ext4 the Debian packages e2fsprogs and mount.
package disk

// Package pgtest runs private PostgreSQL servers for tests.
//
// A server is started from binaries that are already installed, listens on
// 127.0.0.1 and on a socket in its own temporary directory, keeps fsync on
// (durability is one of the things we test), and trusts every local user. As
// root it runs as another account, because PostgreSQL refuses to run as root.
//
// Most tests share one server per test process and take a database each:
//
//	url := pgtest.Server(t).Database(t)
//
// Tests that kill, stop or pause a server start their own with [Start].
//
// # Where the binaries come from
//
// ONCEGUARD_PG_BIN names a bin directory. Otherwise the highest version under
// /usr/lib/postgresql is used, or the one that ONCEGUARD_PG_VERSION asks for,
// and last whatever PATH finds. Only initdb and postgres are needed, so the
// small redistributed builds work too. Where there is none, tests skip and say
// what to install; with CI or ONCEGUARD_PG_REQUIRED set they fail.
//
// # Nothing is left over
//
// A watchdog process holds the read end of a pipe from the test process. When
// that pipe closes, for whatever reason (end of test, panic, SIGKILL, go test's
// own timeout), it stops the server and removes the directory. Pdeathsig would
// not do: it is bound to the thread that started the server, and it cannot
// remove files.
package pgtest

// Package cutproxy is a TCP proxy on loopback that understands the frames of
// the PostgreSQL protocol (version 3) and makes a connection fail exactly where
// a test needs it: before or after a given frame, inside one, or not at all
// while nothing gets through.
//
// A commit whose answer is lost has two truths, and the client sees the same
// error for both:
//
//	proxy := cutproxy.New(t, cluster.Addr())
//	cut := proxy.Add(cutproxy.Rule{
//		When: cutproxy.Commits("INSERT INTO receipt"), // absent: the server never hears of it
//		// or cutproxy.Answers("INSERT INTO receipt"),   present: only the answer is lost
//		Do: cutproxy.CutBefore(cutproxy.Reset),
//	})
//	_, err := conn.Exec(ctx, "INSERT INTO receipt ...") // conn dialled proxy.URL(url)
//	<-cut.Hit()
//
// # When a statement is committed
//
// CommandComplete is no proof: outside an explicit transaction the server sends
// it before it commits, and only its buffer keeps it back. ReadyForQuery is, so
// [Answers] matches that. In the other direction the server commits on Sync, or
// on a simple Query: [Commits].
//
// # What a cut does
//
// The client's side is closed as asked, with RST or FIN. The server's side is
// always closed with FIN behind what was already forwarded, so that the server
// surely reads it: RST could overtake it. With RST the client's system may also
// drop what was forwarded to the client and not read yet; where a test needs
// those bytes delivered, it uses FIN.
//
// The proxy answers requests for TLS and GSS encryption itself, with no. It
// would see no frames otherwise.
package cutproxy

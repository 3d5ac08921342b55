package cutproxy

import "strings"

// Sends matches the client's frame that makes the server run a statement whose
// SQL contains the text, whatever its case: a simple Query or an Execute.
func Sends(text string) func(Frame) bool {
	return func(f Frame) bool {
		return f.Dir == ToServer && (f.Type == 'Q' || f.Type == 'E') && contains(f, text)
	}
}

// Commits matches the client's frame upon which the server commits a statement
// that contains the text and stands outside an explicit transaction: the Sync
// that ends its batch, or a simple Query. For an explicit transaction use
// Sends("commit").
func Commits(text string) func(Frame) bool {
	return func(f Frame) bool {
		return f.Dir == ToServer && (f.Type == 'Q' || f.Type == 'S') && contains(f, text)
	}
}

// Completes matches the server's CommandComplete of a statement that contains
// the text. Outside an explicit transaction it is not yet proof of a commit.
func Completes(text string) func(Frame) bool {
	return func(f Frame) bool {
		return f.Dir == ToClient && f.Type == 'C' && contains(f, text)
	}
}

// Answers matches the server's ReadyForQuery after a batch that contains the
// text: outside an explicit transaction, whatever the batch did is committed
// now, or failed.
func Answers(text string) func(Frame) bool {
	return func(f Frame) bool {
		return f.Dir == ToClient && f.Type == 'Z' && contains(f, text)
	}
}

// Type matches frames of one type and direction.
func Type(dir Direction, typ byte) func(Frame) bool {
	return func(f Frame) bool { return f.Dir == dir && f.Type == typ }
}

// DropCancels returns a rule that lets no CancelRequest through. pgx sends one in
// the background whenever a connection breaks under it, and that can catch a
// statement which the test means to arrive: one behind [CutAfter], or released
// late.
func DropCancels() Rule {
	return Rule{When: Type(ToServer, CancelRequest), Times: -1, Do: CutBefore(Reset)}
}

// AtByte returns a rule that cuts each connection's stream of one direction
// after exactly n bytes, n at least 1.
func AtByte(dir Direction, n int64, how How) Rule {
	return Rule{
		When: func(f Frame) bool {
			return f.Dir == dir && f.Offset <= n && n < f.Offset+int64(f.Len())
		},
		Times: -1,
		Do:    Action{kind: cutInside, how: how, stream: n},
	}
}

func contains(f Frame, text string) bool {
	return strings.Contains(strings.ToLower(f.SQL), strings.ToLower(text))
}

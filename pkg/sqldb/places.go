package sqldb

import (
	"strconv"
	"strings"
)

// Places is the places of so many rows in a statement that inserts several:
// ($1, $2), ($3, $4) for two rows of two columns. SQLite gets (?, ?), (?, ?): its
// driver looks each numbered place up by its name among all of the statement.
func (d Dialect) Places(rows, columns int) string {
	var b strings.Builder
	for i := range rows * columns {
		switch {
		case i == 0:
			b.WriteByte('(')
		case i%columns == 0:
			b.WriteString("), (")
		default:
			b.WriteString(", ")
		}
		if d == SQLite {
			b.WriteByte('?')
			continue
		}
		b.WriteByte('$')
		b.WriteString(strconv.Itoa(i + 1))
	}
	b.WriteByte(')')
	return b.String()
}

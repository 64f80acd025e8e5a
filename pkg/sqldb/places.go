package sqldb

import (
	"strconv"
	"strings"
)

// Places is the places of so many rows in a statement that inserts several:
// ($1, $2), ($3, $4) for two rows of two columns. SQLite gets (?, ?), (?, ?): its
// driver looks each numbered place up by its name among all of the statement.
func (d Dialect) Places(rows, columns int) string { return d.rows(rows, make([]any, columns)) }

// rows is Places for columns of which some have a fixed value, "" or int64(0), which
// stands in the text.
func (d Dialect) rows(rows int, fixed []any) string {
	var b strings.Builder
	places := 0
	for i := range rows * len(fixed) {
		switch {
		case i == 0:
			b.WriteByte('(')
		case i%len(fixed) == 0:
			b.WriteString("), (")
		default:
			b.WriteString(", ")
		}
		switch fixed[i%len(fixed)] {
		case nil:
			places++
			b.WriteString(d.place(places))
		case "":
			b.WriteString("''")
		default:
			b.WriteByte('0')
		}
	}
	b.WriteByte(')')
	return b.String()
}

func (d Dialect) place(n int) string {
	if d == SQLite {
		return "?"
	}
	return "$" + strconv.Itoa(n)
}

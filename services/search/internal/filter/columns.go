package filter

import "github.com/RoaringBitmap/roaring/v2"

// Columns holds the metadata of many documents by field and value, and finds
// the documents that pass a filter. Documents are known by small numbers. It is
// not safe for concurrent use: writers need it to themselves.
type Columns struct {
	fields map[string]*column
	// points are the places of the documents that have one, by path.
	points map[string]map[uint32]Point
}

// column is one field of all documents. A document is in present once, and
// under each of its values.
type column struct {
	present *roaring.Bitmap
	scalars map[Value]*roaring.Bitmap
	items   map[Value]*roaring.Bitmap
}

// NewColumns returns columns without documents.
func NewColumns() *Columns {
	return &Columns{fields: make(map[string]*column), points: make(map[string]map[uint32]Point)}
}

// Add adds a document that is not there.
func (c *Columns) Add(doc uint32, fields []Field) {
	for _, f := range fields {
		col := c.fields[f.Path]
		if col == nil {
			col = &column{
				present: roaring.New(),
				scalars: make(map[Value]*roaring.Bitmap),
				items:   make(map[Value]*roaring.Bitmap),
			}
			c.fields[f.Path] = col
		}
		col.present.Add(doc)
		values := col.valuesOf(f.Shape)
		for _, v := range f.Values {
			set := values[v]
			if set == nil {
				set = roaring.New()
				values[v] = set
			}
			set.Add(doc)
		}
	}
	c.addPoints(doc, fields)
}

// Remove removes a document; fields are those it was added with.
func (c *Columns) Remove(doc uint32, fields []Field) {
	c.removePoints(doc, fields)
	for _, f := range fields {
		col := c.fields[f.Path]
		if col == nil {
			continue
		}
		values := col.valuesOf(f.Shape)
		for _, v := range f.Values {
			if set := values[v]; set != nil {
				if set.Remove(doc); set.IsEmpty() {
					delete(values, v)
				}
			}
		}
		if col.present.Remove(doc); col.present.IsEmpty() {
			delete(c.fields, f.Path)
		}
	}
}

func (c *column) valuesOf(s Shape) map[Value]*roaring.Bitmap {
	if s == List {
		return c.items
	}
	return c.scalars
}

// Select returns the documents of all that pass n; it leaves all as it is.
func (c *Columns) Select(n Node, all *roaring.Bitmap) *roaring.Bitmap {
	switch n := n.(type) {
	case nil:
		return all.Clone()
	case *And:
		out := all.Clone()
		for _, child := range n.Nodes {
			out = c.Select(child, out)
		}
		return out
	case *Or:
		out := roaring.New()
		for _, child := range n.Nodes {
			out.Or(c.Select(child, all))
		}
		return out
	case *Not:
		return roaring.AndNot(all, c.Select(n.Node, all))
	case *Compare:
		out := c.compare(n)
		out.And(all)
		return out
	case *Distance:
		out := c.near(n)
		out.And(all)
		return out
	default:
		return roaring.New()
	}
}

func (c *Columns) compare(n *Compare) *roaring.Bitmap {
	out := roaring.New()
	if n.Op == Has && !n.Any && n.Value.Kind == String {
		if member := c.fields[n.Path+"."+n.Value.Text]; member != nil {
			out.Or(member.present)
		}
	}
	col := c.fields[n.Path]
	if col == nil {
		return out
	}
	if n.Value.Kind == Time && !n.Any {
		col.compareTime(out, n)
		return out
	}
	switch n.Op {
	case Has:
		if n.Any {
			out.Or(col.present)
			return out
		}
		or(out, col.items[n.Value])
		or(out, col.scalars[n.Value])
	case Equal:
		or(out, col.scalars[n.Value])
	case NotEqual:
		out.Or(col.present)
		if equal := col.scalars[n.Value]; equal != nil {
			out.AndNot(equal)
		}
	case Less, LessEqual, Greater, GreaterEqual:
		for v, set := range col.scalars {
			if n.Op.passes(v, n.Value) {
				out.Or(set)
			}
		}
	}
	return out
}

// compareTime adds the documents whose string there is a moment that passes.
func (c *column) compareTime(out *roaring.Bitmap, n *Compare) {
	op := n.Op
	if op == NotEqual {
		op = Equal
	}
	passing := roaring.New()
	values := []map[Value]*roaring.Bitmap{c.scalars}
	if op == Has {
		values = append(values, c.items)
	}
	for _, sets := range values {
		for v, set := range sets {
			if t, ok := v.AsTime(); ok && op.passes(t, n.Value) {
				passing.Or(set)
			}
		}
	}
	if n.Op == NotEqual {
		passing = roaring.AndNot(c.present, passing)
	}
	out.Or(passing)
}

func or(out, set *roaring.Bitmap) {
	if set != nil {
		out.Or(set)
	}
}

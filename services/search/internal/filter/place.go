package filter

import (
	"math"
	"slices"
	"strings"

	"github.com/RoaringBitmap/roaring/v2"
)

// earthRadius is the Earth's mean radius in metres, as Elasticsearch has it.
const earthRadius = 6371008.7714

// Point is a place on Earth, in degrees.
type Point struct{ Lat, Lon float64 }

// Valid reports whether there is such a place.
func (p Point) Valid() bool { return math.Abs(p.Lat) <= 90 && math.Abs(p.Lon) <= 180 }

// DistanceTo returns the metres from p to q over a sphere (haversine).
func (p Point) DistanceTo(q Point) float64 {
	const degree = math.Pi / 180
	lat := math.Sin((q.Lat - p.Lat) * degree / 2)
	lon := math.Sin((q.Lon - p.Lon) * degree / 2)
	h := lat*lat + math.Cos(p.Lat*degree)*math.Cos(q.Lat*degree)*lon*lon
	return 2 * earthRadius * math.Asin(math.Sqrt(min(1, h)))
}

// Distance passes documents by how far the place at Path lies from Point. A
// place is an object with the numbers lat and lon; what has none there does not
// pass.
type Distance struct {
	Path  string
	Point Point
	// Op is one of the orders.
	Op     Op
	Metres float64
}

func (*Distance) node() {}

func (d *Distance) passes(p Point) bool {
	return d.Op.passes(NumberValue(p.DistanceTo(d.Point)), NumberValue(d.Metres))
}

// Points returns the places among a document's fields, by path. The fields are
// ordered by path, as Fields gives them.
func Points(fields []Field) map[string]Point {
	var out map[string]Point
	for _, f := range fields {
		if f.Shape != Object {
			continue
		}
		lat, ok := number(fields, f.Path+".lat")
		lon, too := number(fields, f.Path+".lon")
		p := Point{Lat: lat, Lon: lon}
		if !ok || !too || !p.Valid() {
			continue
		}
		if out == nil {
			out = make(map[string]Point, 1)
		}
		out[f.Path] = p
	}
	return out
}

// Find returns the field at the path; the fields are ordered by path.
func Find(fields []Field, path string) (Field, bool) {
	i, ok := slices.BinarySearchFunc(fields, path, func(f Field, path string) int { return strings.Compare(f.Path, path) })
	if !ok {
		return Field{}, false
	}
	return fields[i], true
}

func number(fields []Field, path string) (float64, bool) {
	f, ok := Find(fields, path)
	if !ok || f.Shape != Scalar || f.Values[0].Kind != Number {
		return 0, false
	}
	return f.Values[0].Number, true
}

// near returns the documents that pass.
func (c *Columns) near(d *Distance) *roaring.Bitmap {
	out := roaring.New()
	for doc, p := range c.points[d.Path] {
		if d.passes(p) {
			out.Add(doc)
		}
	}
	return out
}

func (c *Columns) addPoints(doc uint32, fields []Field) {
	for path, p := range Points(fields) {
		if c.points[path] == nil {
			c.points[path] = make(map[uint32]Point)
		}
		c.points[path][doc] = p
	}
}

func (c *Columns) removePoints(doc uint32, fields []Field) {
	for path := range Points(fields) {
		if delete(c.points[path], doc); len(c.points[path]) == 0 {
			delete(c.points, path)
		}
	}
}

package elastic

import (
	"strconv"

	"github.com/poterne/poterne/services/search/internal/filter"
	"github.com/poterne/poterne/services/search/internal/index"
)

// version is one version of a document in the form that its passages are
// written in.
type version struct {
	no   int64
	id   string
	base smile // what all its passages have alike
}

// open takes the next version, which is seen from a generation on.
func (v *version) open(d index.Document, from int64, points map[string]point) {
	v.no, v.id = d.No, d.ID
	s := v.base[:0].
		name(fieldNo).integer(d.No).
		name(fieldFrom).integer(from).
		name(fieldDocument).text(shown(d.ID)).
		name(fieldCreated).integer(d.CreateTime.UnixNano()).
		name(fieldUpdated).integer(d.UpdateTime.UnixNano())
	if len(d.Principals) > 0 {
		s = s.name(fieldPrincipals).texts(d.Principals)
	}
	if metadata := words(d.Fields); len(metadata) > 0 {
		s = s.name(fieldMetadata).texts(metadata)
	}
	if d.Title != "" {
		s = s.name(fieldTitle).text(shown(d.Title))
	}
	if values := valuesOf(d.Fields); len(values) > 0 {
		s = s.name(fieldValues).object()
		for path, texts := range values {
			s = s.name(path).texts(texts)
		}
		s = s.objectEnd()
	}
	if len(points) > 0 {
		s = s.name(fieldPoints).object()
		for path, p := range points {
			s = s.name(path).object().name("lat").float64(p.Lat).name("lon").float64(p.Lon).objectEnd()
		}
		s = s.objectEnd()
	}
	v.base = s
}

// write writes a passage of the version; vector may be empty.
func (v *version) write(s smile, chunk int, terms []string, vector []float32) smile {
	s = append(s.object(), v.base...).
		name(fieldChunk).integer(int64(chunk)).
		name(fieldID).text(v.id + "#" + strconv.Itoa(chunk))
	if len(terms) > 0 {
		s = s.name(fieldTerms).words(terms)
	}
	if len(vector) > 0 {
		s = s.name(fieldVector).vector(vector)
	}
	return s.objectEnd()
}

// shown is as much of a text as orders compare.
func shown(s string) string { return filter.Shown(filter.StringValue(s)).Text }

// passageID is the id of a passage's document; see splitID.
func passageID(no int64, chunk int) string {
	return strconv.FormatInt(no, 10) + "." + strconv.Itoa(chunk)
}

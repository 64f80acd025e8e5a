package front

import (
	"net/http"
	"sync"
)

// usualFields is how many fields a header has room for at once.
const usualFields = 24

// fields keeps the headers of answers that have ended: no handler may touch its answer's
// then (http.ResponseWriter).
type fields struct{ p sync.Pool }

func (f *fields) get() http.Header {
	if h, ok := f.p.Get().(http.Header); ok {
		return h
	}
	return make(http.Header, usualFields)
}

func (f *fields) put(h http.Header) {
	if h != nil && len(h) <= usualFields {
		clear(h)
		f.p.Put(h)
	}
}

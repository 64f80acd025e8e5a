package gateway

import "net/http"

// pageWriter keeps what a page's own handler says of a path that is not there
// from the client, which gets the error that every other path gives.
type pageWriter struct {
	*writer

	request *http.Request
	missing bool
}

// WriteHeader sends the status, or the error in the place of a 404.
func (w *pageWriter) WriteHeader(code int) {
	if code != http.StatusNotFound {
		w.writer.WriteHeader(code)
		return
	}
	w.missing = true
	for _, name := range []string{"Content-Encoding", "Content-Length", "Etag"} {
		w.Header().Del(name)
	}
	writeError(w.writer, w.request, notFound())
}

// Write sends a part of the page.
func (w *pageWriter) Write(p []byte) (int, error) {
	if w.missing {
		return len(p), nil
	}
	return w.writer.Write(p)
}

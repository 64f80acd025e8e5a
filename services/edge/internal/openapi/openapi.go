// Package openapi serves the description of the REST API, which is made from
// the contract (scripts/openapi.sh), and pages to read it that need nothing
// from other hosts. Start reading at Pages.
package openapi

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/swaggest/swgui/v5/static"
	"github.com/vearutop/statigz"
)

// The paths of the pages.
const (
	pathDocument = "/openapi.json"
	pathDocs     = "/docs"
	pathTree     = "/docs/"
	pathRoot     = "/"
)

// packed is openapi.json, packed: it is a hundredth of the binary otherwise.
//
//go:embed openapi.json.gz
var packed []byte

// page is where people read the document, and try calls. The line of signIn is left
// out where nobody can log in.
//
//go:embed docs.html
var page []byte

const signIn = `<p class="signin">`

// Document returns the OpenAPI document.
func Document() ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, fmt.Errorf("openapi: unpack the document: %w", err)
	}
	document, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("openapi: unpack the document: %w", err)
	}
	return document, nil
}

// Pages returns what answers GET outside of the API, by path. version names the
// build; login says whether people can log in.
func Pages(version string, login bool) map[string]http.Handler {
	return map[string]http.Handler{
		pathDocument: http.HandlerFunc(serveDocument),
		pathDocs:     http.RedirectHandler(pathTree, http.StatusMovedPermanently),
		pathTree:     ownHostOnly(docs(login)),
		pathRoot:     root(version, login),
	}
}

// docs answers with the page, and with what that is made of below it.
func docs(login bool) http.Handler {
	text := page
	if before, rest, ok := bytes.Cut(page, []byte(signIn)); ok && !login {
		_, after, _ := bytes.Cut(rest, []byte("\n"))
		text = slices.Concat(before, after)
	}
	files := http.StripPrefix(pathTree, statigz.FileServer(static.FS))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != pathTree {
			files.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write(text)
	})
}

func serveDocument(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-cache")
	h.Set("Vary", "Accept-Encoding")
	body := packed
	if acceptsGzip(r) {
		h.Set("Content-Encoding", "gzip")
	} else {
		var err error
		if body, err = Document(); err != nil {
			http.Error(w, "the document cannot be read", http.StatusInternalServerError)
			return
		}
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	if r.Method != http.MethodHead {
		_, _ = w.Write(body)
	}
}

// acceptsGzip reports whether a client names gzip among what it takes, as browsers
// and curl --compressed do; quality values of 0 are not written by any of them.
func acceptsGzip(r *http.Request) bool {
	for part := range strings.SplitSeq(r.Header.Get("Accept-Encoding"), ",") {
		name, q, _ := strings.Cut(strings.TrimSpace(part), ";")
		if name == "gzip" && strings.TrimSpace(q) != "q=0" {
			return true
		}
	}
	return false
}

// ownHostOnly keeps a page from loading anything from elsewhere. Its script is
// inline, and so is allowed.
func ownHostOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", "default-src 'self'; img-src 'self' data:; "+
			"script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; frame-ancestors 'none'")
		w.Header().Set("Referrer-Policy", "no-referrer")
		next.ServeHTTP(w, r)
	})
}

// root says what this is to whoever opens the address by hand.
func root(version string, login bool) http.Handler {
	about := map[string]string{
		"name": "Poterne", "version": version, "docs": pathDocs, "openapi": pathDocument, "api": "/v1",
	}
	if login {
		about["login"] = "/login"
	}
	body, err := json.Marshal(about)
	if err != nil {
		body = []byte("{}") // strings always encode
	}
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(append(slices.Clip(body), '\n'))
	})
}

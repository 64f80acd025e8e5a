package gateway

import (
	"net/http"
	"strings"

	"github.com/poterne/poterne/pkg/apierr"
)

func (h *handler) unrouted(w *writer, r *http.Request, allowed []string) {
	if len(allowed) == 0 {
		writeError(w, r, notFound())
		return
	}
	w.Header().Set("Allow", strings.Join(allowed, ", "))
	tusOffer(w.Header(), r)
	if r.Method == http.MethodOptions {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	writeError(w, r, apierr.New(apierr.MethodNotAllowed, "this path has no method %s, only %s",
		methodName(r.Method), strings.Join(allowed, ", ")))
}

// methodName bounds what a client can make us repeat.
func methodName(m string) string {
	switch m {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
		http.MethodOptions, http.MethodConnect, http.MethodTrace:
		return m
	default:
		return "OTHER"
	}
}

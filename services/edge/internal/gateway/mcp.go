package gateway

import (
	"errors"
	"net/http"
	"slices"

	"github.com/poterne/poterne/pkg/apierr"
)

// mcp answers a message of the Model Context Protocol: as the caller, whom the door let
// in. A page of another origin must not speak for somebody whose browser can reach the
// gateway and that page cannot (DNS rebinding); browsers name the page's origin, and
// only those that are let in by configuration may.
func (h *handler) mcp(w *writer, r *http.Request) {
	if origin := r.Header.Get("Origin"); origin != "" && !slices.Contains(h.cfg.CORS.Origins, origin) && !slices.Contains(h.cfg.CORS.Origins, "*") {
		writeError(w, r, apierr.New(apierr.PermissionDenied, "pages of this origin may not speak here (http.cors.origins)"))
		return
	}
	h.MCP.ServeHTTP(w, r.WithContext(h.callContext(r.Context(), r.Header)))
}

// RefuseMCP answers a request to the protocol's path that is no message of it.
func RefuseMCP(w http.ResponseWriter, r *http.Request, err error) {
	if _, ours := errors.AsType[*apierr.Error](err); !ours {
		err = bodyError(err)
	}
	writeError(w, r, err)
}

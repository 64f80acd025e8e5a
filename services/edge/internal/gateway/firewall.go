package gateway

import (
	"fmt"
	"net/http"

	"github.com/poterne/poterne/services/edge/internal/ban"
	"github.com/poterne/poterne/services/edge/internal/firewall"
	"github.com/poterne/poterne/services/edge/internal/middleware"
)

// profile gives every route what the firewall judges of its requests.
func (h *handler) profile() error {
	names := make(map[string]struct{}, len(h.routes))
	for i := range h.routes {
		rt := &h.routes[i]
		names[rt.name()] = struct{}{}
		rt.profile = firewall.None // a page, which takes nothing
		if rt.rpc != "" {
			rt.profile = h.Firewall.Profile(rt.name(), rt.rpc)
		}
	}
	for _, name := range h.Firewall.Routes() {
		if _, ok := names[name]; !ok {
			return fmt.Errorf("waf: there is no route %q; /openapi.json lists them", name)
		}
	}
	return nil
}

// judge shows a request to the firewall, of somebody who was let in: strangers are
// refused for less, and must not have us run rules for them.
func (h *handler) judge(r *http.Request, rt *route) error {
	if h.Firewall == nil || rt.profile == firewall.None {
		return nil
	}
	var data []byte
	if b, ok := r.Body.(*body); ok && rt.profile == firewall.Full && takesBody(r, rt) {
		limit := h.Firewall.MaxBodyBytes()
		if r.ContentLength > limit {
			return tooLarge(limit)
		}
		var err error
		if data, err = b.readAll(); err != nil {
			return err
		}
		if int64(len(data)) > limit {
			return tooLarge(limit)
		}
		b.hold(data)
	}
	found, err := h.Firewall.Judge(r.Context(), r, rt.name(), data)
	for _, f := range found {
		middleware.Found(r.Context(), string(f))
	}
	if err != nil && len(found) > 0 {
		h.Door.Offend(r.Context(), ban.Firewall)
	}
	return err
}

// takesBody reports whether anybody reads the body of r.
func takesBody(r *http.Request, rt *route) bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		return false
	case http.MethodDelete:
		return mlflowPath(rt.template)
	default:
		return r.ContentLength != 0
	}
}

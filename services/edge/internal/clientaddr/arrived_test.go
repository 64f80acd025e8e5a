package clientaddr_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/poterne/poterne/services/edge/internal/arrival"
	"github.com/poterne/poterne/services/edge/internal/clientaddr"
)

// How a request came in and from where are one context, which hides nothing else.
func TestArrived(t *testing.T) {
	type other struct{}
	r := httptest.NewRequestWithContext(context.WithValue(t.Context(), other{}, "kept"), http.MethodGet, "/", http.NoBody)
	r.RemoteAddr = "192.0.2.7:1234"
	a := clientaddr.New(nil)
	ctx := a.Arrived(r.Context(), r)
	if got := a.FromContext(ctx); got.String() != "192.0.2.7" {
		t.Errorf("the address is %v", got)
	}
	if arrival.From(ctx).Request != r {
		t.Error("the request is not found")
	}
	if ctx.Value(other{}) != "kept" {
		t.Error("what was there is hidden")
	}
}

package gateway

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/poterne/poterne/pkg/apierr"
)

// TestParametersOfThePath checks that what is wrong with a part of the path is
// told in our words and with its field, not in those of Go's parser.
func TestParametersOfThePath(t *testing.T) {
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/v1/collections/c/embeddingGenerations/x", http.NoBody)
	err := apierr.From(original(r, status.Errorf(codes.InvalidArgument, "type mismatch, parameter: %s, error: %v", "number", `strconv.ParseInt: parsing "x": invalid syntax`)))
	if err.Reason != apierr.InvalidArgument || err.Field != "number" || err.Message != "number in the path is not of its form" {
		t.Errorf("got %v of %q", err, err.Field)
	}
}

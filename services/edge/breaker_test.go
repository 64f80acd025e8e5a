package edge_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/poterne/poterne/pkg/apierr"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
)

// A model without a worker is asked for over and over: the users of the others
// notice nothing, and the edge stays ready.
func TestAnUnavailableModelKeepsNobodyElseOut(t *testing.T) {
	g := open(t, nil)
	served := new(fakeInference)
	g.inference.unary = func(req *inferencev1.InvokeRequest) (*inferencev1.InvokeResponse, error) {
		if req.GetModel() == "away" {
			return nil, apierr.New(apierr.Unavailable, "no worker is ready to serve away@v1; try again")
		}
		return served.Invoke(t.Context(), req)
	}
	chat := func(model string) answer {
		return g.do(http.MethodPost, chatPath, `{"model":"`+model+`","messages":[{"role":"user","content":"Hi"}]}`)
	}
	for range 5 {
		for range 30 {
			if a := chat("away"); a.status != http.StatusServiceUnavailable || !strings.Contains(a.text, "away@v1") {
				t.Fatalf("the model that is away: %d %s", a.status, a.text)
			}
		}
		if a := chat("small"); a.status != http.StatusOK {
			t.Fatalf("another model: %d %s", a.status, a.text)
		}
	}
	if a := g.do(http.MethodGet, "/v1/models", ""); a.status != http.StatusOK {
		t.Fatalf("the models: %d %s", a.status, a.text)
	}
}

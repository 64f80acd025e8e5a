package edge_test

import (
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	"github.com/poterne/poterne/services/edge"
)

// copies counts what the model other is asked, and holds it until release is closed.
type copies struct {
	asked, inHand, most atomic.Int32
	release             chan struct{}
	released            sync.Once
}

// mirroring has every request for the model small copied to other.
func mirroring(t *testing.T, change func(*edge.Config), err error) (*gate, *copies) {
	t.Helper()
	g, c := open(t, change), &copies{release: make(chan struct{})}
	g.route("copied", `{"match":{"models":["small"]},"mirror":{"model":"other","percent":100}}`)
	rest := new(fakeInference)
	g.inference.unary = func(req *inferencev1.InvokeRequest) (*inferencev1.InvokeResponse, error) {
		if req.GetModel() == "other" {
			c.asked.Add(1)
			n := c.inHand.Add(1)
			for most := c.most.Load(); n > most && !c.most.CompareAndSwap(most, n); most = c.most.Load() {
			}
			<-c.release
			c.inHand.Add(-1)
			if err != nil {
				return nil, err
			}
		}
		return rest.Invoke(t.Context(), req)
	}
	t.Cleanup(c.let)
	return g, c
}

func (c *copies) let() { c.released.Do(func() { close(c.release) }) }

func (c *copies) await(t *testing.T, n int32) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); c.asked.Load() < n; <-time.After(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d were copied, %d are to be", c.asked.Load(), n)
		}
	}
}

// A mirror changes neither the answer nor when it comes, whatever it does itself.
func TestAMirrorChangesNothing(t *testing.T) {
	for name, err := range map[string]error{"it answers": nil, "it fails": apierr.New(apierr.EngineFailed, "broken")} {
		t.Run(name, func(t *testing.T) {
			g, c := mirroring(t, nil, err)
			for i, more := range []string{"", `,"stream":true`} {
				alone := g.askModel("single", more)
				copied := g.askModel("small", more) // while the copy is held
				c.await(t, int32(i+1))
				if copied.status != http.StatusOK || len(copied.text) < 20 || copied.header.Get("X-Poterne-Fallback") != "" ||
					copied.header.Get("X-Poterne-Model") != alone.header.Get("X-Poterne-Model") || copied.header.Get("X-Poterne-Attempts") != "" {
					t.Errorf("%q: %d %v %s", more, copied.status, copied.header, copied.text)
				}
				if more == "" && (copied.at("choices", 0, "message", "content") != "Hello" || copied.at("usage", "total_tokens") != alone.at("usage", "total_tokens")) {
					t.Errorf("%s, without a mirror %s", copied.text, alone.text)
				}
			}
			if c.inHand.Load() != 2 {
				t.Error("the answers waited for their copies")
			}
		})
	}
}

// There are at most so many copies in hand; the requests beyond have none, and wait for
// none.
func TestMirrorsAreBounded(t *testing.T) {
	g, c := mirroring(t, func(cfg *edge.Config) { cfg.Security.Routes.MaxMirrored = 3 }, nil)
	for range 10 {
		if a := g.askModel("small", ""); a.status != http.StatusOK {
			t.Fatalf("%d %s", a.status, a.text)
		}
	}
	c.await(t, 3)
	if n := c.asked.Load(); n != 3 {
		t.Errorf("%d copies are in hand", n)
	}
	c.let()
	for end := time.Now().Add(10 * time.Second); c.asked.Load() < 6; <-time.After(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("no copies are made once there is room")
		}
		g.askModel("small", "")
	}
	if n := c.most.Load(); n > 3 {
		t.Errorf("%d copies were in hand at once", n)
	}
}

// What a caller may not have is not asked on their behalf either: neither what the
// policy refuses them, nor what their key is not for.
func TestAMirrorMustBeAllowed(t *testing.T) {
	g, c := mirroring(t, nil, nil)
	c.let()
	reader := g.keyFor("acme", "reader", "interns")
	narrow, _ := g.newKey(`{"name":"small","tenant":"acme","roles":["developer"],"models":["small"]}`)
	g.apply(http.StatusOK, `{"activate":true,"document":{"rules":[{"id":"closed","subject":"group:interns","scope":"any","type":"model","resource":"other","effect":"deny"}]}}`)
	for name, key := range map[string][]string{"by the policy": reader, "by the key": narrow} {
		for range 20 {
			if a := g.askModel("small", "", key...); a.status != http.StatusOK {
				t.Fatalf("%s: %d %s", name, a.status, a.text)
			}
		}
	}
	g.askModel("small", "") // which is copied, after what would have been
	c.await(t, 1)
	if n := c.asked.Load(); n != 1 {
		t.Errorf("%d copies were made, one may be", n)
	}
	if a := g.do("GET", "/v1/admin/usage?group_by=tenant&group_by=model&tenant=acme", ""); a.status != http.StatusOK || a.at("rows", 1) != nil {
		t.Errorf("the tenant is billed for copies: %s", a.text)
	}
}

// A share of the requests is copied, and what is copied is billed as what it is.
func TestAShareIsMirrored(t *testing.T) {
	g, c := mirroring(t, nil, nil)
	c.let()
	g.route("copied", `{"match":{"models":["small"]},"mirror":{"model":"other","percent":30}}`)
	const requests = 300
	for range requests {
		g.askModel("small", "")
	}
	c.await(t, requests/10)
	if n := c.asked.Load(); n > requests/2 {
		t.Errorf("%d of %d were copied", n, requests)
	}
	for end := time.Now().Add(10 * time.Second); ; <-time.After(5 * time.Millisecond) {
		a := g.do("GET", "/v1/admin/usage?group_by=kind", "")
		if a.at("rows", 0, "requests") == float64(requests)+float64(c.asked.Load()) {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%d requests and %d copies are billed: %s", requests, c.asked.Load(), fmt.Sprint(a.text))
		}
	}
}

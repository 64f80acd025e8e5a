package edge_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// A policy that has another model answer does not give that to a key which is not
// for it.
func TestAForcedModelIsOneOfTheKeys(t *testing.T) {
	g := open(t, nil)
	own, _ := g.newKey(`{"name":"own","roles":["reader"],"models":["small","big"]}`)
	other, _ := g.newKey(`{"name":"other","roles":["reader"],"models":["big"]}`)
	g.apply(http.StatusOK, `{"activate":true,"document":{"rules":[
		{"id":"forced","subject":"role:reader","type":"model","action":"chat|complete","effect":"allow","obligations":{"model":"small"}}]}}`)
	for name, c := range map[string]struct {
		key  []string
		path string
		body string
		want int
	}{
		"its own":        {own, chatPath, fmt.Sprintf(sayHi, "big", ""), 200},
		"another":        {other, chatPath, fmt.Sprintf(sayHi, "big", ""), 403},
		"in a stream":    {other, chatPath, fmt.Sprintf(sayHi, "big", `,"stream":true`), 403},
		"in completions": {other, "/v1/completions", `{"model":"big","prompt":"x"}`, 403},
	} {
		if a := g.do("POST", c.path, c.body, c.key...); a.status != c.want {
			t.Errorf("%s: %d, want %d: %s", name, a.status, c.want, a.text)
		}
	}
}

// Who may make keys without being an administrator has none speak for others, from
// whom the policy may take its roles.
func TestNobodySpeaksForOthers(t *testing.T) {
	g := open(t, nil)
	g.apply(http.StatusOK, `{"activate":true,"document":{"rules":[
		{"id":"makes","subject":"role:maker","type":"api-key|service-account","effect":"allow"}],
		"roles":[{"member":"group:leads","role":"role:admin","tenant":"*"}]}}`)
	maker, _ := g.newKey(`{"name":"maker","roles":["maker"],"subject":"mo","groups":["makers"]}`)
	_, lead := g.newKey(`{"name":"lead","roles":["maker"],"groups":["leads"],"scopes":["model:list"]}`)
	_, admin := g.newKey(`{"name":"admin","roles":["admin"],"scopes":["model:list"],"expire_time":"2100-01-01T00:00:00Z"}`)
	g.do("POST", "/v1/admin/service-accounts", `{"service_account":{"id":"boss","roles":["admin"],"scopes":["model:list"]}}`)
	const keys, accounts = "/v1/admin/api-keys", "/v1/admin/service-accounts"
	for _, c := range []struct {
		name, method, path, body string
		want                     int
	}{
		{"for itself", "POST", keys, `{"name":"x","roles":["maker"]}`, 200},
		{"for the maker", "POST", keys, `{"name":"x","roles":["maker"],"subject":"mo","groups":["makers"]}`, 200},
		{"another's group", "POST", keys, `{"name":"x","roles":["maker"],"groups":["leads"]}`, 403},
		{"another", "POST", keys, `{"name":"x","roles":["maker"],"subject":"ana"}`, 403},
		{"by rotating", "POST", keys + "/" + lead + ":rotate", `{}`, 403},
		{"by widening", "PATCH", keys + "/" + admin, `{"api_key":{},"update_mask":"scopes"}`, 403},
		{"for longer", "PATCH", keys + "/" + admin, `{"api_key":{},"update_mask":"expireTime"}`, 403},
		{"by narrowing", "PATCH", keys + "/" + admin, `{"api_key":{"models":["small"],"expire_time":"2099-01-01T00:00:00Z"}}`, 200},
		{"an account's group", "POST", accounts, `{"service_account":{"id":"a","roles":["maker"],"groups":["leads"]}}`, 403},
		{"an account", "POST", accounts, `{"service_account":{"id":"b","roles":["maker"],"groups":["makers"]}}`, 200},
		{"an account's group later", "PATCH", accounts + "/b", `{"service_account":{"groups":["leads"]}}`, 403},
		{"widening an account", "PATCH", accounts + "/boss", `{"service_account":{},"update_mask":"scopes"}`, 403},
	} {
		if a := g.do(c.method, c.path, c.body, maker...); a.status != c.want {
			t.Errorf("%s: %d, want %d: %s", c.name, a.status, c.want, a.text)
		}
	}
}

// network has a call end for a caller who gives it up, whatever its server does, as
// between processes.
type network struct{ grpc.ClientConnInterface }

func (n network) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	ended := make(chan error, 1)
	whole := reply.(proto.Message) //nolint:errcheck // it is one
	own := proto.Clone(whole)
	var trailer metadata.MD // of a call that nobody waits for is not heard
	var heard []*metadata.MD
	opts = slices.Clone(opts)
	for i, o := range opts {
		if to, ok := o.(grpc.TrailerCallOption); ok {
			opts[i], heard = grpc.Trailer(&trailer), append(heard, to.TrailerAddr)
		}
	}
	go func() { ended <- n.ClientConnInterface.Invoke(ctx, method, args, own, opts...) }()
	select {
	case err := <-ended:
		for _, to := range heard {
			*to = trailer
		}
		proto.Merge(whole, own)
		return err
	case <-ctx.Done():
		return status.FromContextError(ctx.Err()).Err()
	}
}

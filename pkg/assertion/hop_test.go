package assertion

import (
	"context"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/identity"
)

// replay sends what was captured, as it is.
func replay(ctx context.Context, raw string) context.Context {
	return metadata.NewOutgoingContext(ctx, metadata.Pairs(identity.MetadataKey, raw))
}

// What a search service was given is good there, and at inference for retrieval;
// every other use of it fails.
func TestWhatSearchHoldsCannotBeWidened(t *testing.T) {
	w := newWorld(t)
	atSearch := new(teller)
	fromEdge := client(atSearch.behind(w.search), w.edge.Issue(search, Narrowed(inference, "retrieval")))
	if err := unary(identity.NewContext(t.Context(), alice()), fromEdge); err != nil {
		t.Fatal(err)
	}
	held, ok := atSearch.ctx.Value(receivedKey{}).(received)
	if !ok {
		t.Fatal("search did not get an assertion")
	}

	// Search as it is: what it does for alice it does as alice, and no more.
	onward := client(w.conn, w.search.Forward(inference))
	if err := unary(atSearch.ctx, onward); err != nil || w.teller.caller.Subject != "alice" {
		t.Fatalf("an embedding for alice: %+v, %v", w.teller.caller, err)
	}
	if err := stream(atSearch.ctx, onward); apierr.ReasonOf(err) != apierr.Unauthenticated {
		t.Errorf("a chat for alice: %v", err)
	}
	// Whoever else is in its context is not vouched for: it calls for itself.
	eve := identity.NewContext(atSearch.ctx, identity.NewCaller("globex", "eve", []string{"admin"}, nil))
	if err := unary(eve, onward); err != nil || w.teller.known {
		t.Errorf("an embedding for somebody else: %+v, %v", w.teller.caller, err)
	}

	// Search as a thief: what it holds, sent by hand.
	registry := open(t, "poterne-registry", Config{TrustedKeys: w.trustDir}, table(), w.now)
	worker := open(t, "poterne-worker", Config{TrustedKeys: w.trustDir}, Table{
		grpc_testing.TestService_UnaryCall_FullMethodName: {Services: []string{inference}},
	}, w.now)
	stolen := replay(t.Context(), held.raw)
	for name, err := range map[string]error{
		"at another service":      unary(stolen, client(new(teller).behind(registry))),
		"at a worker":             unary(stolen, client(new(teller).behind(worker))),
		"for a chat":              stream(stolen, client(w.conn)),
		"where services may call": empty(stolen, client(w.conn)),
		"as a worker's caller":    unary(t.Context(), client(new(teller).behind(worker), w.search.Own("poterne-worker"))),
		"for itself, for a chat":  stream(t.Context(), client(w.conn, w.search.Own(inference))),
		"by its own key, for an administrator": unary(identity.NewContext(t.Context(), identity.NewCaller("default", "root", []string{"admin"}, nil)),
			client(w.conn, w.search.Issue(inference))),
		"by its own key, for another tenant": unary(identity.NewContext(t.Context(), identity.NewCaller("globex", "eve", nil, nil)),
			client(w.conn, w.search.Issue(inference))),
	} {
		if apierr.ReasonOf(err) != apierr.Unauthenticated {
			t.Errorf("%s: %v", name, err)
		}
	}
	w.now.Advance(Life + Skew)
	if err := unary(stolen, client(w.conn)); apierr.ReasonOf(err) != apierr.Unauthenticated {
		t.Errorf("later than its life: %v", err)
	}
	// A call that takes longer goes on as the service's own.
	if err := unary(atSearch.ctx, onward); err != nil || w.teller.known {
		t.Errorf("a long call: %+v, %v", w.teller.caller, err)
	}
}

// Keys are exchanged without a call refused: the new one is trusted first, then
// used, and the old one is forgotten when nothing that it signed lives.
func TestRotationUnderLoad(t *testing.T) {
	w := newWorld(t)
	var ended atomic.Bool
	var calls [4]atomic.Int64
	var wg sync.WaitGroup
	ctx := identity.NewContext(t.Context(), alice())
	for i := range calls {
		wg.Go(func() {
			c := client(new(teller).behind(w.receiver), w.edge.Issue(inference))
			for !ended.Load() {
				if err := stream(ctx, c); err != nil {
					t.Errorf("a call was refused: %v", err)
					return
				}
				calls[i].Add(1)
			}
		})
	}
	more := func() {
		for i := range calls {
			for seen := calls[i].Load(); calls[i].Load() < seen+3 && !t.Failed(); {
				runtime.Gosched()
			}
		}
	}
	old := w.edge.signer.Load().KeyID()
	for range 3 {
		before, _, public := pair(t)
		write(t, filepath.Join(w.trustDir, edge+".next.pem"), public)
		w.receiver.Reload(t.Context())
		more()
		w.edge.opts.Config.SigningKeyFile = before // as if the file had changed
		w.edge.Reload(t.Context())
		more()
		for range 7 { // as long as it lives, in steps that no call outlasts
			w.now.Advance(Life / 6)
			more()
		}
		write(t, filepath.Join(w.trustDir, edge+".pem"), public)
		w.receiver.Reload(t.Context())
		more()
	}
	ended.Store(true)
	wg.Wait()
	if _, known := w.receiver.trust.Load().keys[old]; known || w.edge.signer.Load().KeyID() == old {
		t.Error("the old key is still there")
	}
}

// A key that is gone is refused at once, also for what was verified by it before;
// files that cannot be read change nothing.
func TestRevocation(t *testing.T) {
	w := newWorld(t)
	c := client(w.conn, w.edge.Issue(inference))
	ctx := identity.NewContext(t.Context(), alice())
	if err := unary(ctx, c); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(w.trustDir, edge+".pem"), []byte("no key"))
	w.receiver.Reload(t.Context())
	if err := unary(ctx, c); err != nil {
		t.Errorf("while a file is damaged: %v", err)
	}
	_, _, another := pair(t)
	write(t, filepath.Join(w.trustDir, edge+".pem"), another)
	w.receiver.Reload(t.Context())
	if err := unary(ctx, c); apierr.ReasonOf(err) != apierr.Unauthenticated {
		t.Errorf("after its key was taken away: %v", err)
	}
}

func TestCache(t *testing.T) {
	c := newCache[int, int](10)
	for i := range 100 {
		c.put(i, i, 1)
		if v, ok := c.get(0); !ok || v != 0 { // in use, it stays
			t.Fatalf("0 is gone after %d", i)
		}
		if len(c.young)+len(c.old) > 20 {
			t.Fatalf("%d are kept", len(c.young)+len(c.old))
		}
	}
	if _, ok := c.get(50); ok {
		t.Error("what nobody asked for is kept")
	}
}

func FuzzVerify(f *testing.F) {
	w := newWorld(f)
	md, err := w.edge.sender(inference, true).sign(alice())
	if err != nil {
		f.Fatal(err)
	}
	good := md[identity.MetadataKey][0]
	f.Add(good)
	f.Add("")
	f.Add("a.b.c")
	f.Fuzz(func(t *testing.T, raw string) {
		for method := range table() {
			if r, err := w.receiver.verify(w.receiver.trust.Load(), []string{raw}, method); err == nil && raw != good {
				t.Fatalf("accepted %q: %+v", raw, r.statement)
			}
		}
		_, _ = w.receiver.believe([]string{raw}, grpc_testing.TestService_UnaryCall_FullMethodName)
	})
}

func BenchmarkSign(b *testing.B) {
	w := newWorld(b)
	s := w.edge.sender(inference, true)
	ctx := identity.NewContext(b.Context(), alice())
	c := alice()
	b.Run("anew", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			s.signed = newCache[string, signature](signedBytes)
			if _, err := s.sign(c); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("again", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := s.sign(c); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("plain", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := s.unsigned(ctx); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	w := newWorld(b)
	md, err := w.edge.sender(inference, true).sign(alice())
	if err != nil {
		b.Fatal(err)
	}
	values := md[identity.MetadataKey]
	b.Logf("%d bytes", len(values[0]))
	method, t := grpc_testing.TestService_UnaryCall_FullMethodName, w.receiver.trust.Load()
	plain, err := identity.Plain().Encode(alice())
	if err != nil {
		b.Fatal(err)
	}
	b.Run("anew", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := w.receiver.verify(newTrust(t.text, t.keys), values, method); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("again", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := w.receiver.verify(t, values, method); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("plain", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := identity.Plain().Decode(plain); err != nil {
				b.Fatal(err)
			}
		}
	})
}

package assertion

import (
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/grpcclient"
	"github.com/poterne/poterne/pkg/grpcserver"
	"github.com/poterne/poterne/pkg/identity"
	"github.com/poterne/poterne/pkg/inproc"
	"github.com/poterne/poterne/pkg/jose"
	"github.com/poterne/poterne/pkg/signing"
	"github.com/poterne/poterne/pkg/telemetry"
)

func alice() identity.Caller {
	c := identity.NewCaller("acme", "alice", []string{"developer"}, []string{"sales"})
	c.KeyID = "k1"
	return c
}

// pair is a new key: its private half in a file, its public half as PEM.
func pair(tb testing.TB) (file string, key ed25519.PrivateKey, public []byte) {
	tb.Helper()
	private, _, err := signing.Generate()
	if err != nil {
		tb.Fatal(err)
	}
	if key, err = signing.ParsePrivate(private); err != nil {
		tb.Fatal(err)
	}
	file = filepath.Join(tb.TempDir(), "identity.pem")
	write(tb, file, private)
	der, err := x509.MarshalPKIXPublicKey(signing.Public(key))
	if err != nil {
		tb.Fatal(err)
	}
	return file, key, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

func write(tb testing.TB, path string, text []byte) {
	tb.Helper()
	if err := os.WriteFile(path+".new", text, 0o600); err != nil {
		tb.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		tb.Fatal(err)
	}
}

func open(tb testing.TB, service string, cfg Config, table Table, now clock.Clock) *Assertions {
	tb.Helper()
	cfg.ReloadInterval = DefaultConfig().ReloadInterval
	a, err := Open(Options{Service: service, Config: cfg, Access: table, Clock: now, Telemetry: telemetry.Discard(), PlatformTenant: "default"})
	if err != nil {
		tb.Fatal(err)
	}
	return a
}

// teller is a service that answers with whom it is called by.
type teller struct {
	grpc_testing.UnimplementedTestServiceServer
	caller identity.Caller
	known  bool
	ctx    context.Context
}

func (s *teller) UnaryCall(ctx context.Context, _ *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
	s.caller, s.known = identity.FromContext(ctx)
	s.ctx = context.WithoutCancel(ctx)
	return new(grpc_testing.SimpleResponse), nil
}

func (s *teller) EmptyCall(ctx context.Context, _ *grpc_testing.Empty) (*grpc_testing.Empty, error) {
	s.caller, s.known = identity.FromContext(ctx)
	return new(grpc_testing.Empty), nil
}

func (s *teller) StreamingOutputCall(_ *grpc_testing.StreamingOutputCallRequest, ss grpc.ServerStreamingServer[grpc_testing.StreamingOutputCallResponse]) error {
	s.caller, s.known = identity.FromContext(ss.Context())
	return ss.Send(new(grpc_testing.StreamingOutputCallResponse))
}

func (s *teller) behind(a *Assertions) grpc.ClientConnInterface {
	return inproc.New(grpcserver.Chain{grpcserver.Errors(), a.Server()}, func(r grpc.ServiceRegistrar) { grpc_testing.RegisterTestServiceServer(r, s) })
}

func client(conn grpc.ClientConnInterface, opt ...grpcclient.Option) grpc_testing.TestServiceClient {
	return grpc_testing.NewTestServiceClient(grpcclient.Intercept("test", conn, grpcclient.DefaultConfig(), telemetry.Discard(), opt...))
}

const (
	search    = "poterne-search"
	inference = "poterne-inference"
)

// table: UnaryCall is for callers and narrowed ones, StreamingOutputCall for callers
// alone, EmptyCall for search.
func table() Table {
	return Table{
		grpc_testing.TestService_UnaryCall_FullMethodName:           {Callers: true, Tenant: Models, Purpose: "retrieval", Services: []string{search}},
		grpc_testing.TestService_StreamingOutputCall_FullMethodName: {Callers: true, Tenant: Callers},
		grpc_testing.TestService_EmptyCall_FullMethodName:           {Services: []string{search}, Tenant: None},
	}
}

// world is an edge and a receiver that trusts it and search.
type world struct {
	now      *clock.Fake
	edge     *Assertions
	edgeKey  ed25519.PrivateKey
	search   *Assertions
	trustDir string
	teller   *teller
	receiver *Assertions
	conn     grpc.ClientConnInterface
}

func newWorld(tb testing.TB) *world {
	tb.Helper()
	w := &world{now: clock.NewFake(time.Unix(1_800_000_000, 0)), trustDir: tb.TempDir(), teller: new(teller)}
	edgeFile, edgeKey, edgePublic := pair(tb)
	searchFile, _, searchPublic := pair(tb)
	w.edgeKey = edgeKey
	write(tb, filepath.Join(w.trustDir, edge+".pem"), edgePublic)
	write(tb, filepath.Join(w.trustDir, search+".pem"), searchPublic)
	w.edge = open(tb, edge, Config{SigningKeyFile: edgeFile}, nil, w.now)
	w.search = open(tb, search, Config{SigningKeyFile: searchFile, TrustedKeys: w.trustDir}, table(), w.now)
	w.receiver = open(tb, inference, Config{TrustedKeys: w.trustDir}, table(), w.now)
	w.conn = w.teller.behind(w.receiver)
	return w
}

func unary(ctx context.Context, c grpc_testing.TestServiceClient) error {
	_, err := c.UnaryCall(ctx, new(grpc_testing.SimpleRequest))
	return err
}

func empty(ctx context.Context, c grpc_testing.TestServiceClient) error {
	_, err := c.EmptyCall(ctx, new(grpc_testing.Empty))
	return err
}

func stream(ctx context.Context, c grpc_testing.TestServiceClient) error {
	s, err := c.StreamingOutputCall(ctx, new(grpc_testing.StreamingOutputCallRequest))
	if err == nil {
		_, err = s.Recv()
	}
	return err
}

func TestCallerTravelsSigned(t *testing.T) {
	w := newWorld(t)
	c := client(w.conn, w.edge.Issue(inference))
	// What a handler copied from its own caller's metadata must not win.
	ctx := identity.NewContext(metadata.AppendToOutgoingContext(t.Context(), identity.MetadataKey, "forged"), alice())
	for range 2 { // signed, and remembered
		if err := unary(ctx, c); err != nil || !reflect.DeepEqual(w.teller.caller, alice()) {
			t.Fatalf("unary: %+v, %v", w.teller.caller, err)
		}
		w.teller.caller = identity.Caller{}
		if err := stream(ctx, c); err != nil || !reflect.DeepEqual(w.teller.caller, alice()) {
			t.Fatalf("stream: %+v, %v", w.teller.caller, err)
		}
	}
	// It is signed anew before it is too old, for as long as calls are made.
	for range 10 {
		w.now.Advance(Life / 4)
		if err := unary(ctx, c); err != nil {
			t.Fatal(err)
		}
	}
	// A service for itself names nobody.
	own := client(w.conn, w.search.Own(inference))
	if err := empty(ctx, own); err != nil || w.teller.known {
		t.Errorf("search for itself: %+v, %v", w.teller.caller, err)
	}
	if err := empty(ctx, c); apierr.ReasonOf(err) != apierr.Unauthenticated {
		t.Errorf("a caller where services are asked for: %v", err)
	}
	if err := unary(t.Context(), c); apierr.ReasonOf(err) != apierr.Unauthenticated {
		t.Errorf("an edge for itself, where search may: %v", err)
	}
}

// good is what the edge would say.
func (w *world) good() map[string]any {
	now := w.now.Now().Unix()
	return map[string]any{
		"iss": edge, "aud": []string{inference}, "iat": now, "exp": now + 60,
		"t": "acme", "s": "alice", "p": []string{"user:alice", "tenant:acme"}, "r": []string{"developer"},
	}
}

func (w *world) signed(tb testing.TB, typ, id string, key ed25519.PrivateKey, claims map[string]any) string {
	tb.Helper()
	s, err := jose.NewSigner(id, key)
	if err != nil {
		tb.Fatal(err)
	}
	raw, err := s.Sign(typ, claims)
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

func TestRefusals(t *testing.T) {
	w := newWorld(t)
	id := Thumbprint(signing.Public(w.edgeKey))
	_, foreign, _ := pair(t)
	with := func(change map[string]any) string {
		c := w.good()
		for k, v := range change {
			if v == nil {
				delete(c, k)
			} else {
				c[k] = v
			}
		}
		return w.signed(t, Type, id, w.edgeKey, c)
	}
	plain, err := identity.Plain().Encode(alice())
	if err != nil {
		t.Fatal(err)
	}
	now := w.now.Now().Unix()
	many := make([]string, 9)
	tests := map[string]struct {
		values []string
		want   refusalError
	}{
		"none":              {nil, errMissing},
		"two":               {[]string{with(nil), with(nil)}, errRepeated},
		"unsigned":          {[]string{string(plain)}, errUnsigned},
		"empty":             {[]string{""}, errMalformed},
		"oversize":          {[]string{strings.Repeat("a", MaxBytes+1)}, errOversize},
		"garbage":           {[]string{"a.b.c"}, errMalformed},
		"foreign key":       {[]string{w.signed(t, Type, Thumbprint(signing.Public(foreign)), foreign, w.good())}, errUnknownKey},
		"foreign, our name": {[]string{w.signed(t, Type, id, foreign, w.good())}, errSignature},
		"another type":      {[]string{w.signed(t, "JWT", id, w.edgeKey, w.good())}, errMalformed},
		"another issuer":    {[]string{with(map[string]any{"iss": search})}, errIssuer},
		"no issuer":         {[]string{with(map[string]any{"iss": nil})}, errIssuer},
		"another audience":  {[]string{with(map[string]any{"aud": []string{"poterne-registry"}})}, errAudience},
		"narrowed wrongly":  {[]string{with(map[string]any{"aud": []string{"poterne-inference#chat"}})}, errMethod},
		"no audience":       {[]string{with(map[string]any{"aud": nil})}, errAudience},
		"audience no list":  {[]string{with(map[string]any{"aud": inference})}, errMalformed},
		"many audiences":    {[]string{with(map[string]any{"aud": many})}, errAudience},
		"expired":           {[]string{with(map[string]any{"iat": now - 70, "exp": now - 10})}, errExpired},
		"not yet":           {[]string{with(map[string]any{"iat": now + 10, "exp": now + 60})}, errEarly},
		"long":              {[]string{with(map[string]any{"exp": now + 61})}, errLifetime},
		"no end":            {[]string{with(map[string]any{"exp": nil})}, errLifetime},
		"no beginning":      {[]string{with(map[string]any{"iat": nil})}, errLifetime},
		"no subject":        {[]string{with(map[string]any{"s": nil})}, errMalformed},
		"no tenant":         {[]string{with(map[string]any{"t": nil})}, errMalformed},
		"unknown member":    {[]string{with(map[string]any{"admin": true})}, errMalformed},
		"for itself":        {[]string{with(map[string]any{"t": nil, "s": nil, "p": nil, "r": nil})}, errMethod},
	}
	for name, tt := range tests {
		_, err := w.receiver.verify(w.receiver.trust.Load(), tt.values, grpc_testing.TestService_UnaryCall_FullMethodName)
		if err != tt.want { //nolint:errorlint // causes are never wrapped
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
		*w.teller = teller{}
		err = unary(metadata.NewOutgoingContext(t.Context(), metadata.MD{identity.MetadataKey: tt.values}), client(w.conn))
		if e := apierr.From(err); e.Reason != apierr.Unauthenticated || e.Message != "the call does not prove on whose behalf it is made" || w.teller.ctx != nil {
			t.Errorf("%s: %v, let in: %v", name, err, w.teller.ctx != nil)
		}
	}
	if err := unary(metadata.NewOutgoingContext(t.Context(), metadata.Pairs(identity.MetadataKey, with(nil))), client(w.conn)); err != nil {
		t.Errorf("the good one: %v", err)
	}
	// Remembered, it still ends, and nothing of it can be changed.
	good := with(nil)
	for i := range len(good) {
		changed := []byte(good)
		changed[i] ^= 1
		if _, err := w.receiver.verify(w.receiver.trust.Load(), []string{string(changed)}, grpc_testing.TestService_UnaryCall_FullMethodName); err == nil {
			t.Fatalf("byte %d can be changed", i)
		}
	}
	w.now.Advance(Life + Skew)
	if _, err := w.receiver.verify(w.receiver.trust.Load(), []string{good}, grpc_testing.TestService_UnaryCall_FullMethodName); err != errExpired { //nolint:errorlint // causes are never wrapped
		t.Errorf("after its life: %v", err)
	}
}

// What an issuer may assert is the receiver's to say.
func TestRights(t *testing.T) {
	w := newWorld(t)
	asSearch := w.search.sender(inference, true)
	md, err := asSearch.sign(alice())
	if err != nil {
		t.Fatal(err)
	}
	method := grpc_testing.TestService_UnaryCall_FullMethodName
	if _, err := w.receiver.verify(w.receiver.trust.Load(), md[identity.MetadataKey], method); err != errBeyond { //nolint:errorlint // causes are never wrapped
		t.Errorf("search speaks for a caller: %v", err)
	}
	limited := open(t, inference, Config{TrustedKeys: w.trustDir, Issuers: map[string]Rights{edge: {Callers: true, Tenants: []string{"globex"}}}}, table(), w.now)
	if md, err = w.edge.sender(inference, true).sign(alice()); err != nil {
		t.Fatal(err)
	}
	if _, err := limited.verify(limited.trust.Load(), md[identity.MetadataKey], method); err != errBeyond { //nolint:errorlint // causes are never wrapped
		t.Errorf("an edge speaks for a tenant that is not its own: %v", err)
	}
	platform := open(t, inference, Config{TrustedKeys: w.trustDir}, Table{method: {Callers: true, Tenant: Platform}}, w.now)
	c := client(w.teller.behind(platform), w.edge.Issue(inference))
	if err := unary(identity.NewContext(t.Context(), alice()), c); apierr.ReasonOf(err) != apierr.PermissionDenied {
		t.Errorf("another tenant, where the platform's is asked for: %v", err)
	}
	root := identity.NewCaller("default", "root", []string{"admin"}, nil)
	if err := unary(identity.NewContext(t.Context(), root), c); err != nil {
		t.Errorf("the platform's: %v", err)
	}
}

// Services can begin to sign before those that they call verify.
func TestTakenAtTheirWord(t *testing.T) {
	w := newWorld(t)
	word := open(t, inference, Config{}, table(), w.now)
	unsigned := open(t, edge, Config{}, nil, w.now)
	for name, from := range map[string]*Assertions{"signed": w.edge, "plain": unsigned} {
		c := client(w.teller.behind(word), from.Issue(inference))
		if err := unary(identity.NewContext(t.Context(), alice()), c); err != nil || !reflect.DeepEqual(w.teller.caller, alice()) {
			t.Errorf("%s: %+v, %v", name, w.teller.caller, err)
		}
		if err := stream(t.Context(), client(w.teller.behind(word))); apierr.ReasonOf(err) != apierr.Unauthenticated {
			t.Errorf("%s: nobody: %v", name, err)
		}
	}
	if err := empty(t.Context(), client(w.teller.behind(word), w.search.Own(inference))); err != nil || w.teller.known {
		t.Errorf("search for itself: %+v, %v", w.teller.caller, err)
	}
}

func TestKeyFiles(t *testing.T) {
	_, key, public := pair(t)
	signer, err := jose.NewSigner(Thumbprint(signing.Public(key)), key)
	if err != nil {
		t.Fatal(err)
	}
	set, err := jose.PublicSet(signer)
	if err != nil {
		t.Fatal(err)
	}
	_, _, other := pair(t)
	private, _, _ := signing.Generate()
	tests := map[string]struct {
		files files
		keys  int
	}{
		"PEM":                {files{"a.pem": public}, 1},
		"two in a file":      {files{"a.pem": append(append([]byte{}, public...), other...)}, 2},
		"two files":          {files{"a.pem": public, "a.next.pem": other}, 2},
		"a set":              {files{"a.jwks": set}, 1},
		"the same twice":     {files{"a.jwks": set, "a.pem": public}, 1},
		"two issuers' key":   {files{"a.pem": public, "b.pem": public}, -1},
		"a private key":      {files{"a.pem": private}, -1},
		"text after it":      {files{"a.pem": append(append([]byte{}, public...), "more"...)}, -1},
		"nothing":            {files{"a.pem": nil}, -1},
		"no set":             {files{"a.jwks": []byte("{}")}, -1},
		"a key of a family":  {files{"a.jwks": []byte(`{"keys":[{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}]}`)}, -1},
		"for something else": {files{"a.jwks": []byte(strings.Replace(string(set), `"sig"`, `"enc"`, 1))}, -1},
	}
	for name, tt := range tests {
		got, err := tt.files.parse()
		if (tt.keys < 0) != (err != nil) || err == nil && len(got) != tt.keys {
			t.Errorf("%s: %d keys, %v", name, len(got), err)
		}
		if err != nil && strings.Contains(err.Error(), "PRIVATE") {
			t.Errorf("%s: the error tells the key: %v", name, err)
		}
	}
	// RFC 8037, appendix A.3.
	var jwk struct{ X string }
	_ = json.Unmarshal([]byte(`{"x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`), &jwk)
	keys, err := jwkKeys([]byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","x":"` + jwk.X + `"}]}`))
	if err != nil || Thumbprint(keys[0]) != "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k" {
		t.Errorf("thumbprint: %v", err)
	}
}

package edge_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"maps"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/poterne/poterne/pkg/jose"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	"github.com/poterne/poterne/services/edge"
)

// issuerName is the issuer that test gates trust.
const issuerName = "https://id.example"

// trusted is an issuer whose keys are at a URL.
type trusted struct {
	t      *testing.T
	signer *jose.Signer
	url    string

	mu   sync.Mutex
	keys []byte
}

func newTrusted(t *testing.T) *trusted {
	t.Helper()
	is := &trusted{t: t, signer: newKey(t, "a")}
	set, err := jose.PublicSet(is.signer)
	if err != nil {
		t.Fatal(err)
	}
	is.publish(set)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		is.mu.Lock()
		defer is.mu.Unlock()
		_, _ = w.Write(is.keys)
	}))
	t.Cleanup(server.Close)
	is.url = server.URL
	return is
}

func (is *trusted) publish(keys []byte) {
	is.mu.Lock()
	defer is.mu.Unlock()
	is.keys = keys
}

func newKey(t *testing.T, id string) *jose.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s, err := jose.NewSigner(id, key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// trust has a gate trust the issuer.
func (is *trusted) trust(c *edge.Config) {
	onFreePorts(c)
	c.Security.Limits.Address.FailureCost = 1
	c.Security.Tokens.Issuers = []edge.TokenIssuer{{Issuer: issuerName, JWKSURL: is.url, Audiences: []string{"poterne"}}}
}

// claims are those of a good token, with changes; nil takes a claim away.
func (is *trusted) claims(changes map[string]any) map[string]any {
	now := time.Now().Unix()
	all := map[string]any{
		"iss": issuerName, "aud": "poterne", "exp": now + 3600, "iat": now, "sub": "ana", "tenant": "acme", "roles": []string{"developer"},
	}
	maps.Copy(all, changes)
	maps.DeleteFunc(all, func(_ string, v any) bool { return v == nil })
	return all
}

func (is *trusted) token(changes map[string]any) string {
	is.t.Helper()
	token, err := is.signer.Sign("at+jwt", is.claims(changes))
	if err != nil {
		is.t.Fatal(err)
	}
	return token
}

// rpc lists models over gRPC with this metadata, and returns the code and the
// answer's header.
func rpc(tb testing.TB, conn *grpc.ClientConn, pairs ...string) (codes.Code, metadata.MD, string) {
	tb.Helper()
	ctx := metadata.AppendToOutgoingContext(tb.Context(), pairs...)
	var header, trailer metadata.MD
	_, err := edgev1.NewOpenAIServiceClient(conn).ListModels(ctx, &edgev1.ListModelsRequest{}, grpc.Header(&header), grpc.Trailer(&trailer))
	return status.Code(err), metadata.Join(header, trailer), status.Convert(err).Message()
}

// serveIssuer serves an issuer that answers everything so, and returns its URL.
func serveIssuer(t *testing.T, answer func(w http.ResponseWriter, r *http.Request, own string)) string {
	t.Helper()
	var own string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { answer(w, r, own) }))
	t.Cleanup(server.Close)
	own = server.URL
	return own
}

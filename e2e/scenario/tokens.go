package scenario

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/poterne/poterne/pkg/jose"
	"github.com/poterne/poterne/pkg/testkit"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
)

// Tokens has openid-client find the platform as an authorisation server where clients
// do, get a token that is bound to its key, and call with it; over gRPC a key of ours
// does the same.
func Tokens(t *testing.T, g Target) {
	secret, id := g.NewKey(t, map[string]any{"name": "a service", "roles": []string{"reader"}})
	calls := make([]testkit.OIDCResource, 6)
	for i := range calls { // of several edges each is asked
		calls[i] = testkit.OIDCResource{URL: g.URL + "/v1/models?page_size=1", OtherKey: i == 4}
	}
	done := testkit.OIDCClient(t, testkit.OIDCCall{
		Server: g.URL, Algorithm: "oauth2", ClientID: id, Secret: secret, Basic: true, DPoP: true,
		Parameters: map[string]string{"scope": "model:*"}, Calls: calls,
	})
	for i, a := range done.Answers {
		want := 200
		if calls[i].OtherKey {
			want = 401
		}
		if a.Status != want {
			t.Errorf("call %d: HTTP %d, want %d: %s", i, a.Status, want, a.Challenge)
		}
	}
	g.CallAs(t, done.Token, "GET", "/v1/models", nil, 401) // as a bearer token
	overGRPC(t, g, id, secret)
}

// overGRPC gets a token that is bound to a key of ours, and calls with it over gRPC.
func overGRPC(t *testing.T, g Target, id, secret string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := jose.NewSigner("x", private)
	if err != nil {
		t.Fatal(err)
	}
	nonce, token := "", ""
	prove := func(method, target string) string {
		t.Helper()
		claims := map[string]any{"jti": rand.Text(), "htm": method, "htu": target, "iat": time.Now().Unix(), "nonce": nonce}
		if token != "" {
			sum := sha256.Sum256([]byte(token))
			claims["ath"] = base64.RawURLEncoding.EncodeToString(sum[:])
		}
		text, err := key.SignEmbedding("dpop+jwt", claims)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	for range 2 { // the second time with the nonce that it was told
		form := url.Values{"grant_type": {"client_credentials"}, "client_id": {id}, "client_secret": {secret}}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, g.URL+"/oauth2/token", strings.NewReader(form.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("DPoP", prove(http.MethodPost, g.URL+"/oauth2/token"))
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		var answer struct {
			Token string `json:"access_token"`
		}
		err = json.NewDecoder(resp.Body).Decode(&answer)
		_ = resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if next := resp.Header.Get("DPoP-Nonce"); next != "" {
			nonce = next
		}
		if token = answer.Token; token != "" {
			break
		}
	}
	if token == "" {
		t.Fatal("no token")
	}
	conn, err := grpc.NewClient(g.GRPCAddr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	const method = edgev1.OpenAIService_ListModels_FullMethodName
	for target, want := range map[string]codes.Code{
		"http://" + g.GRPCAddr + method: codes.OK, g.URL + method: codes.Unauthenticated, "https://" + g.GRPCAddr + method: codes.Unauthenticated,
	} {
		ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "DPoP "+token, "dpop", prove("POST", target))
		if _, err := edgev1.NewOpenAIServiceClient(conn).ListModels(ctx, &edgev1.ListModelsRequest{}); status.Code(err) != want {
			t.Errorf("a proof for %s: %v, want %v", target, err, want)
		}
	}
}

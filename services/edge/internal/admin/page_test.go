package admin

import (
	"strings"
	"testing"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/services/edge/internal/audit"
)

func positionID(p audit.Position) string { return p.ID }

func TestTokenRoundTrip(t *testing.T) {
	want := audit.Position{TimeMicros: 1_777_636_800_000_123, ID: "0196f3a2-7d1c-7000-8000-000000000001"}
	token := writeToken(want)
	if len(token) > 512 {
		t.Errorf("the token is longer than the contract allows: %d", len(token))
	}
	var got audit.Position
	if err := readToken(token, &got, positionID); err != nil || got != want {
		t.Fatalf("%+v, %v", got, err)
	}
	var none audit.Position
	if err := readToken("", &none, positionID); err != nil || none != (audit.Position{}) {
		t.Fatalf("the first page: %+v, %v", none, err)
	}
}

func TestForeignTokensAreRefused(t *testing.T) {
	for name, token := range map[string]string{
		"not base64":          "%%%",
		"not JSON":            "bm9uc2Vuc2U",
		"of another method":   writeToken("0123456789abcdef"),
		"without an id":       writeToken(audit.Position{TimeMicros: 1}),
		"with a foreign id":   writeToken(audit.Position{ID: "\x00'; --"}),
		"with a very long id": writeToken(audit.Position{ID: strings.Repeat("x", 500)}),
	} {
		var p audit.Position
		err := readToken(token, &p, positionID)
		if e := apierr.From(err); e == nil || e.Reason != apierr.InvalidArgument || e.Field != "page_token" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzReadToken(f *testing.F) {
	f.Add(writeToken(audit.Position{TimeMicros: 1, ID: "a"}))
	f.Fuzz(func(t *testing.T, token string) {
		var p audit.Position
		if err := readToken(token, &p, positionID); err != nil && apierr.ReasonOf(err) != apierr.InvalidArgument {
			t.Fatal(err)
		}
	})
}

package rpc

import (
	"encoding/base64"
	"encoding/json"

	"github.com/poterne/poterne/pkg/apierr"
)

// pageToken says where a list goes on. It is opaque to callers (AIP-158) and
// holds nothing they may not know.
type pageToken struct {
	// List is what is listed, so that a token of one list is refused by another.
	List  string `json:"l"`
	After string `json:"a"`
}

func encodePage(list, after string) string {
	b, err := json.Marshal(pageToken{List: list, After: after})
	if err != nil {
		return "" // strings always encode
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// decodePage returns where to go on; "" for the first page.
func decodePage(list, token string) (string, error) {
	if token == "" {
		return "", nil
	}
	var t pageToken
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || json.Unmarshal(b, &t) != nil || t.List != list || t.After == "" {
		return "", apierr.Invalid("page_token", "page_token is not one that this list gave")
	}
	return t.After, nil
}

// The number of things on a page that does not say, and the most that any has.
const (
	defaultPage = 100
	maxPage     = 1000
)

func pageSize(n int32) int {
	if n <= 0 {
		return defaultPage
	}
	return min(int(n), maxPage)
}

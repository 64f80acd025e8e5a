package admin

import (
	"encoding/base64"
	"encoding/json"
	"fmt"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/requestid"
)

// A page token is JSON in base64: where to go on. What a caller may see is
// decided anew for every page, so there is nothing in it to protect.

func writeToken(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("admin: encode a page token: %v", err)) // plain structs and texts only
	}
	return base64.RawURLEncoding.EncodeToString(data)
}

// readToken fills v, a pointer, from a token; an empty one leaves it as it is.
// id returns the identifier in what was read.
func readToken[T any](token string, v *T, id func(T) string) error {
	if token == "" {
		return nil
	}
	data, err := base64.RawURLEncoding.DecodeString(token)
	if err == nil {
		err = json.Unmarshal(data, v)
	}
	if err != nil || !requestid.Valid(id(*v)) {
		return apierr.Invalid("page_token", "page_token is not one that this method gave")
	}
	return nil
}

func pageSize(n int32) int {
	if n <= 0 {
		return defaultPageSize
	}
	return int(n)
}

func fieldIndex(field string, i int) string { return fmt.Sprintf("%s[%d]", field, i) }

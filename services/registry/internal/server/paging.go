package server

import (
	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/services/registry/internal/pagetoken"
)

const defaultPageSize = 100

// pageRequest is what every list request has.
type pageRequest interface {
	GetPageSize() int32
	GetPageToken() string
}

// pager gives one list page by page (AIP-158).
type pager[T any] struct {
	// scope names the list, so that its tokens fit no other.
	scope string
	// key is the place of an entry in the list.
	key func(T) string
	// list returns at most limit entries after the one with the given key; "" is
	// the beginning.
	list func(after string, limit int) ([]T, error)
}

// page returns a page and the token of the next one, or "".
func (p pager[T]) page(req pageRequest) (entries []T, next string, err error) {
	after := ""
	if token := req.GetPageToken(); token != "" {
		if after, err = pagetoken.Decode(p.scope, token); err != nil {
			return nil, "", errBadToken()
		}
	}
	size := int(req.GetPageSize())
	if size == 0 {
		size = defaultPageSize
	}
	entries, err = p.list(after, size+1) // one more tells whether there is a next page
	if err != nil || len(entries) <= size {
		return entries, "", err
	}
	entries = entries[:size]
	return entries, pagetoken.Encode(p.scope, p.key(entries[size-1])), nil
}

func errBadToken() error {
	return apierr.Invalid("page_token", "page_token is not one that this list gave")
}

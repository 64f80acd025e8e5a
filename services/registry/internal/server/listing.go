package server

import (
	"strings"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/services/registry/internal/filter"
	"github.com/poterne/poterne/services/registry/internal/store"
)

// listRequest is what requests for lists have that can be filtered.
type listRequest interface {
	GetFilter() string
	GetOrderBy() string
	GetShowDeleted() bool
}

// listQuery reads what is to be listed.
func listQuery(req listRequest) (store.Query, error) {
	n, err := filter.Parse(req.GetFilter())
	if err != nil {
		return store.Query{}, apierr.Invalid("filter", "%v", err)
	}
	return store.Query{Filter: n, OrderBy: req.GetOrderBy(), Deleted: req.GetShowDeleted()}, nil
}

// queryScope is everything that decides what is listed besides the list's name, for
// its tokens: empty when nothing special is asked.
func queryScope(req listRequest) string {
	if req.GetFilter() == "" && req.GetOrderBy() == "" && !req.GetShowDeleted() {
		return ""
	}
	deleted := ""
	if req.GetShowDeleted() {
		deleted = "deleted"
	}
	return "\x00" + strings.Join([]string{req.GetFilter(), req.GetOrderBy(), deleted}, "\x00")
}

package query

import (
	"strings"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/services/search/internal/syntax"
)

// read reads the marks of a query, unless it is plain.
func read(query string, plain bool) (syntax.Query, error) {
	if plain {
		return syntax.Query{Text: query}, nil
	}
	said, err := syntax.Parse(query)
	if err != nil {
		return syntax.Query{}, err
	}
	if strings.TrimSpace(said.Text) == "" {
		return syntax.Query{}, apierr.Invalid("query", "query says only what must not be there")
	}
	return said, nil
}

package query

import (
	"strings"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/services/search/internal/analysis"
	"github.com/poterne/poterne/services/search/internal/syntax"
)

// said is what a query says.
type said struct {
	syntax.Query
	// terms are the words that are looked for, and shown in highlights.
	terms []analysis.Term
}

// read reads the marks of a query, unless it is plain.
func read(req Request) (said, error) {
	out := said{Query: syntax.Query{Text: req.Query}}
	if !req.Plain {
		var err error
		if out.Query, err = syntax.Parse(req.Query); err != nil {
			return said{}, err
		}
		if strings.TrimSpace(out.Text) == "" {
			return said{}, apierr.Invalid("query", "query says only what must not be there")
		}
	}
	out.terms = analysis.QueryIn(out.Text, req.Language)
	return out, nil
}

package searchmeter

import (
	"cmp"
	"context"
	"mime"

	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
	"github.com/poterne/poterne/services/edge/internal/metering"
)

const (
	modeLexical = "lexical"
	// defaultTopN is how many passages a search has reranked that does not say.
	defaultTopN = 50
	// passageTokens is reserved for a passage of a collection that does not say how long
	// its passages are: two for each of the words that the search service cuts by itself.
	passageTokens = 2 * 256
	wordTokens    = 2
	// compressed is how many bytes of a PDF are taken for one of its text.
	compressed = 8
	typePDF    = "application/pdf"
)

// demands is what models may be asked to do for a call; none: nothing.
func (c *conn) demands(ctx context.Context, args any) ([]metering.Demand, error) {
	if len(c.o.Meters) == 0 {
		return nil, nil
	}
	switch req := args.(type) {
	case *searchv1.SearchRequest:
		return c.search(ctx, req)
	case *searchv1.BatchUpsertDocumentsRequest:
		n := 0
		for _, d := range req.GetDocuments() {
			n += documentSize(d)
		}
		known, err := c.o.Collections.of(ctx, req.GetCollection())
		if err != nil {
			return nil, err
		}
		return []metering.Demand{c.embedding(known, n)}, nil
	}
	return nil, nil
}

// search is what a search may take: its query is embedded unless only its words are
// looked for, and the first page is reranked when it is to be.
func (c *conn) search(ctx context.Context, req *searchv1.SearchRequest) ([]metering.Demand, error) {
	embeds, reranks := req.GetMode() != modeLexical, req.GetRerank() != nil && req.GetPageToken() == ""
	if !embeds && !reranks {
		return nil, nil
	}
	known, err := c.o.Collections.of(ctx, req.GetCollection())
	if err != nil {
		return nil, err
	}
	var out []metering.Demand
	if embeds {
		out = append(out, c.embedding(known, len(req.GetQuery())))
	}
	if reranks {
		n := int(max(cmp.Or(req.GetRerank().GetTopN(), defaultTopN), 0))
		out = append(out, metering.Demand{
			Kind: metering.Rerank, Model: req.GetRerank().GetModel(), PromptBytes: n * (len(req.GetQuery()) + known.passage), Documents: n,
			Beside: true, Part: c.part(metering.Rerank),
		})
	}
	return out, nil
}

func (c *conn) embedding(known collection, size int) metering.Demand {
	return metering.Demand{Kind: metering.Embed, Model: known.model, PromptBytes: size, Beside: true, Part: c.part(metering.Embed)}
}

func (c *conn) part(kind metering.Kind) string {
	if c.o.Part == "" {
		return ""
	}
	return c.o.Part + "/" + string(kind)
}

// documentSize is the bytes of a document's text, rather many: those of a file are not
// known before it is read.
func documentSize(d *searchv1.Document) int {
	n := len(d.GetContent())
	if t, _, err := mime.ParseMediaType(d.GetContentType()); err == nil && t == typePDF {
		n /= compressed
	}
	return len(d.GetTitle()) + len(d.GetText()) + n
}

// passageSize is the tokens of a collection's passages, rather many.
func passageSize(c *searchv1.Chunking) int {
	switch words, tokens := int(c.GetMaxWords()), int(c.GetMaxTokens()); {
	case tokens > 0:
		return tokens
	case words > 0:
		return wordTokens * words
	default:
		return passageTokens
	}
}

package contextbuilder

import "github.com/poterne/poterne/pkg/config"

// Where passages stand in a prompt.
const (
	// PlaceConversation is before everything that users and models said, so that
	// prompts which differ in the question only begin alike.
	PlaceConversation = "conversation"
	// PlaceQuestion is before the user's last message, so that a conversation in
	// which each question finds something else begins as it did.
	PlaceQuestion = "question"
)

// In which order they stand.
const (
	OrderDocument  = "document"
	OrderRelevance = "relevance"
)

// What becomes of a number in an answer that no passage has. It is told in any case.
const (
	KeepUnknown   = "keep"
	MarkUnknown   = "mark"
	RemoveUnknown = "remove"
)

// Config is the section "context".
type Config struct {
	// DefaultContextLength is taken, in tokens, for models that do not tell theirs.
	DefaultContextLength int `yaml:"default_context_length"`
	// AnswerTokens are kept free for the answer of a request that does not say
	// how long it may be; at most half of the model's context is.
	AnswerTokens int `yaml:"answer_tokens"`
	// MaxPassageTokens bounds the passages in one prompt, whatever the model holds.
	MaxPassageTokens int `yaml:"max_passage_tokens"`
	// CountTokens says whether the model's own tokeniser counts prompts that may not
	// fit; where it is false, and for models that cannot count, sizes are estimated.
	CountTokens bool `yaml:"count_tokens"`
	// Placement is where passages stand: PlaceConversation or PlaceQuestion.
	Placement string `yaml:"placement"`
	// Order is in which order, unless a request says otherwise: OrderDocument or
	// OrderRelevance.
	Order string `yaml:"order"`
	// Deduplicate leaves passages out that nearly repeat a better one.
	Deduplicate bool `yaml:"deduplicate"`
	// RequirePassages has questions for which nothing is found answered with
	// NotFoundAnswer and no model, unless a request says otherwise.
	RequirePassages bool   `yaml:"require_passages"`
	NotFoundAnswer  string `yaml:"not_found_answer"`
	// UnknownCitations is what becomes of numbers that no passage has: KeepUnknown,
	// MarkUnknown or RemoveUnknown.
	UnknownCitations string `yaml:"unknown_citations"`
}

// maxAnswer bounds the answer that is configured, in bytes.
const maxAnswer = 4096

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{
		DefaultContextLength: 2048, AnswerTokens: 512, MaxPassageTokens: 8192, CountTokens: true,
		Placement: PlaceConversation, Order: OrderDocument, Deduplicate: true,
		NotFoundAnswer: "I found nothing about this in the documents.", UnknownCitations: KeepUnknown,
	}
}

// Validate notes what is wrong; prefix is the section's path.
func (c Config) Validate(p *config.Problems, prefix string) {
	p.Check(c.DefaultContextLength >= 256, prefix+".default_context_length", "must be at least 256, got %d", c.DefaultContextLength)
	p.Check(c.AnswerTokens >= 1, prefix+".answer_tokens", "must be positive, got %d", c.AnswerTokens)
	p.Check(c.MaxPassageTokens >= 64, prefix+".max_passage_tokens", "must be at least 64, got %d", c.MaxPassageTokens)
	p.Check(c.Placement == PlaceConversation || c.Placement == PlaceQuestion, prefix+".placement",
		"must be conversation or question, got %q", c.Placement)
	p.Check(c.Order == OrderDocument || c.Order == OrderRelevance, prefix+".order", "must be document or relevance, got %q", c.Order)
	p.Check(c.NotFoundAnswer != "" && len(c.NotFoundAnswer) <= maxAnswer, prefix+".not_found_answer", "must have 1 to %d bytes", maxAnswer)
	p.Check(c.UnknownCitations == KeepUnknown || c.UnknownCitations == MarkUnknown || c.UnknownCitations == RemoveUnknown,
		prefix+".unknown_citations", "must be keep, mark or remove, got %q", c.UnknownCitations)
}

package limitrule

import (
	"fmt"
	"strconv"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/apierr/httperr"
	"github.com/poterne/poterne/services/edge/internal/limit"
)

// The metadata of a refusal, besides httperr.MetadataLimit.
const (
	metadataPolicy = "policy"
	metadataBy     = "counted_by"
)

// refusal is what a caller is told whom a limit refused; o is nil for the key's own.
func refusal(o *Owned, ask limit.Ask, d limit.Decision) error {
	if o == nil {
		return apierr.New(apierr.RateLimited, "the limit of %d requests per minute is reached", d.Limit.Amount).
			WithMetadata(metadataPolicy, limit.PolicyDefault).WithMetadata(metadataBy, string(ByKey)).WithRetryAfter(d.RetryAfter)
	}
	if o.Kind != Concurrent && ask.Cost > o.limit.AtOnce() {
		return apierr.New(apierr.InvalidArgument, "this may come to %d tokens, and the limit %q lets at most %d through at once: shorten the prompt, or ask for fewer tokens",
			ask.Cost, o.Name, o.limit.AtOnce()).WithMetadata(metadataPolicy, o.Name)
	}
	if d.Local && o.Away == AwayRefuse {
		return apierr.New(apierr.Unavailable, "the limit %q cannot be counted now", o.Name).
			WithMetadata(metadataPolicy, o.Name).WithRetryAfter(d.RetryAfter)
	}
	e := apierr.New(apierr.RateLimited, "%s", o.tooLittle(ask, d))
	if o.Kind.tokens() {
		e = e.WithMetadata(httperr.MetadataLimit, "tokens")
	}
	return e.WithMetadata(metadataPolicy, o.Name).WithMetadata(metadataBy, o.countedBy()).WithRetryAfter(d.RetryAfter)
}

// tooLittle says that a limit is reached, or of tokens that what is left is less than
// the request reserves. How much that is of a limit that tenants share, it does not.
func (o *Owned) tooLittle(ask limit.Ask, d limit.Decision) string {
	text := fmt.Sprintf("the limit %q of %s", o.Name, o.inWords())
	counted := ""
	if len(o.By) > 0 {
		counted = ", counted by " + o.countedBy()
	}
	if !o.Kind.tokens() || d.Remaining <= 0 {
		return text + " is reached" + counted
	}
	left, less := "too little", "ask for fewer tokens (max_tokens), or wait"
	if o.own() {
		left = strconv.Itoa(d.Remaining)
	}
	if o.Kind == InputTokens {
		less = "shorten the prompt, or wait"
	}
	return fmt.Sprintf("%s has %s left%s, and this request reserves %d: %s", text, left, counted, ask.Cost, less)
}

// inWords is how much a rule lets through.
func (o *Owned) inWords() string {
	n := strconv.Itoa(o.Amount)
	switch o.Kind {
	case Concurrent:
		return n + " requests at once"
	case Requests:
		return n + " requests in " + o.Period.String()
	case InputTokens:
		return n + " input tokens in " + o.Period.String()
	case OutputTokens:
		return n + " output tokens in " + o.Period.String()
	case TotalTokens:
		return n + " tokens in " + o.Period.String()
	default:
		return n
	}
}

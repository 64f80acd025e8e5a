package engine

import (
	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/services/worker/internal/jsonbody"
)

// prepared is a request as the engine gets it.
type prepared struct {
	body   []byte
	asked  asked
	limits limits
}

// asked is what of the counts the caller wants to see.
type asked struct {
	usage   bool // the chunk with the usage
	running bool // the counts in every chunk
	many    bool // more than one choice
}

// prepare sets what is the worker's to set and keeps the rest byte for byte.
func (c *client) prepare(op Operation, body []byte, stream bool) (prepared, error) {
	object, err := jsonbody.Read(body)
	if err != nil {
		return prepared{}, badBody(err)
	}
	var room [5]jsonbody.Member // for all that may be set
	least, replaceLimit, limit, err := c.d.limitOf(op, &object)
	if err != nil {
		return prepared{}, err
	}
	set := append(append(room[:0], limit...), jsonbody.Member{Name: "model", Value: c.model})
	timings := stream && c.d.running == tellsTimings
	p := prepared{limits: c.d.limits(op, &object, least)}
	if stream {
		options, asked, err := streamOptions(&object, c.d.running)
		if err != nil {
			return prepared{}, err
		}
		p.asked = asked
		set = append(set, jsonbody.Member{Name: "stream", Value: []byte("true")},
			jsonbody.Member{Name: "stream_options", Value: options})
	}
	if timings {
		set = append(set, jsonbody.Member{Name: timingsPerToken, Value: []byte("true")})
	}
	ours := []string{"model", "stream", "stream_options"}
	if timings {
		ours = append(ours, timingsPerToken)
	}
	if replaceLimit {
		names := limitNames()
		ours = append(ours, names[:]...)
	}
	p.body = object.Set(jsonbody.Named(ours...), set...)
	return p, nil
}

// streamOptions returns the caller's options with the counts asked for, and what
// the caller asked for.
func streamOptions(body *jsonbody.Object, running runningUsage) ([]byte, asked, error) {
	n := body.Value("n")
	want := asked{many: !blank(n) && len(n) > 0 && string(n) != "1"}
	if running == tellsTimings {
		want.running = isTrue(body.Value(timingsPerToken))
	}
	theirs := body.Value("stream_options")
	if len(theirs) == 0 || string(theirs) == "null" {
		theirs = []byte("{}")
	}
	inner, err := jsonbody.Get(theirs, includeUsage, continuousUsage)
	if err != nil {
		return nil, asked{}, apierr.Invalid("stream_options", "stream_options must be an object")
	}
	want.usage = isTrue(inner[includeUsage])
	set := []jsonbody.Member{{Name: includeUsage, Value: []byte("true")}}
	if running == tellsUsage {
		want.running = want.usage && isTrue(inner[continuousUsage])
		set = append(set, jsonbody.Member{Name: continuousUsage, Value: []byte("true")})
	}
	ours := []string{includeUsage}
	if running == tellsUsage {
		ours = append(ours, continuousUsage)
	}
	options, err := jsonbody.Set(theirs, jsonbody.Named(ours...), set...)
	if err != nil {
		return nil, asked{}, badBody(err)
	}
	return options, want, nil
}

func isTrue(value []byte) bool { return string(value) == "true" }

// What asks for the counts: at the end, in every chunk as vLLM and SGLang have
// it, and in every chunk as llama-server has it.
const (
	includeUsage    = "include_usage"
	continuousUsage = "continuous_usage_stats"
	timingsPerToken = "timings_per_token" //nolint:gosec // a parameter, not a credential
)

func badBody(err error) error {
	return apierr.Wrap(apierr.InvalidArgument, err, "%s", err.Error())
}

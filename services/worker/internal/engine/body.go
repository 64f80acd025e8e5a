package engine

import (
	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/services/worker/internal/jsonbody"
)

// prepared is a request as the engine gets it.
type prepared struct {
	body       []byte
	askedUsage bool // the caller wants the chunk with the usage
}

// prepare sets what is the worker's to set and keeps the rest byte for byte.
func (c *client) prepare(op Operation, body []byte, stream bool) (prepared, error) {
	replaceLimit, set, err := c.d.limitOf(op, body)
	if err != nil {
		return prepared{}, err
	}
	set = append(set, jsonbody.Member{Name: "model", Value: c.model})
	var p prepared
	if stream {
		options, asked, err := streamOptions(body)
		if err != nil {
			return prepared{}, err
		}
		p.askedUsage = asked
		set = append(set, jsonbody.Member{Name: "stream", Value: []byte("true")},
			jsonbody.Member{Name: "stream_options", Value: options})
	}
	p.body, err = jsonbody.Set(body, func(name string) bool { return oursToSet(name) || replaceLimit && isLimit(name) }, set...)
	if err != nil {
		return prepared{}, badBody(err)
	}
	return p, nil
}

func oursToSet(name string) bool {
	return name == "model" || name == "stream" || name == "stream_options"
}

// streamOptions returns the caller's options with the usage asked for, and
// whether the caller asked for it.
func streamOptions(body []byte) ([]byte, bool, error) {
	members, err := jsonbody.Get(body, "stream_options")
	if err != nil {
		return nil, false, badBody(err)
	}
	theirs := members["stream_options"]
	if len(theirs) == 0 || string(theirs) == "null" {
		return []byte(`{"include_usage":true}`), false, nil
	}
	inner, err := jsonbody.Get(theirs, includeUsage)
	if err != nil {
		return nil, false, apierr.Invalid("stream_options", "stream_options must be an object")
	}
	asked := string(inner[includeUsage]) == "true"
	options, err := jsonbody.Set(theirs, func(name string) bool { return name == includeUsage },
		jsonbody.Member{Name: includeUsage, Value: []byte("true")})
	if err != nil {
		return nil, false, badBody(err)
	}
	return options, asked, nil
}

const includeUsage = "include_usage"

func badBody(err error) error {
	return apierr.Wrap(apierr.InvalidArgument, err, "%s", err.Error())
}

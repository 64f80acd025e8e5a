package gateway

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"github.com/grpc-ecosystem/grpc-gateway/v2/utilities"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/poterne/poterne/pkg/apierr"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	"github.com/poterne/poterne/services/edge/internal/jsoncodec"
)

// maxQueryValues bounds the parameters of one request.
const maxQueryValues = 100

// queryParser reads query parameters, and names the one at fault: original
// finds the name at the beginning of the message. One that the call does not
// have is refused, because a misspelt filter or page size would otherwise answer
// something else than was asked; on OpenAI's paths it is let through, as OpenAI
// does.
type queryParser struct{ runtime.DefaultQueryParser }

// setQueryParser has grpc-gateway read query parameters so. Its option is one variable of
// the whole process, which an edge that is made must not write while another serves.
var setQueryParser = sync.OnceFunc(func() { //nolint:gochecknoglobals // as what it sets is
	runtime.NewServeMux(runtime.SetQueryParameterParser(new(queryParser)))
})

// Parse fills msg.
func (p *queryParser) Parse(msg proto.Message, values url.Values, filter *utilities.DoubleArray) error {
	if len(values) > maxQueryValues {
		return fmt.Errorf("query: must not have more than %d parameters", maxQueryValues)
	}
	for name, v := range values {
		if !takes(msg, name) {
			if !queryName(name) {
				return errors.New("query: has a parameter that this call does not have")
			}
			return fmt.Errorf("%s: this call has no such parameter", name)
		}
		if err := p.DefaultQueryParser.Parse(msg, url.Values{name: v}, filter); err != nil {
			if !queryName(name) {
				return errors.New("query: has a parameter with a value that is not valid")
			}
			return fmt.Errorf("%s: must be %s", name, wants(msg, name))
		}
	}
	return nil
}

// wants says what a value of the parameter looks like.
func wants(msg proto.Message, name string) string {
	f := field(msg.ProtoReflect().Descriptor(), name)
	if f == nil {
		return "of another form"
	}
	switch f.Kind() {
	case protoreflect.BoolKind:
		return "true or false"
	case protoreflect.DoubleKind, protoreflect.FloatKind:
		return "a number"
	case protoreflect.EnumKind:
		return jsoncodec.EnumForm(f.Enum().Values())
	case protoreflect.MessageKind, protoreflect.GroupKind:
		if form := jsoncodec.WellKnownForm(string(f.Message().FullName())); form != "" {
			return form
		}
		return "given by its members, as in " + name + ".member"
	case protoreflect.StringKind, protoreflect.BytesKind:
		return "one text"
	default:
		return "one whole number"
	}
}

// field finds what a parameter fills, through the messages that its name leads
// through; nil when it is none of the message's.
func field(d protoreflect.MessageDescriptor, name string) protoreflect.FieldDescriptor {
	first, rest, nested := strings.Cut(name, ".")
	f := d.Fields().ByName(protoreflect.Name(first))
	if f == nil {
		f = d.Fields().ByJSONName(first)
	}
	if f == nil || !nested {
		return f
	}
	if f.Message() == nil {
		return nil
	}
	return field(f.Message(), rest)
}

// takes reports whether a call has a parameter of that name, or is one of
// OpenAI's and takes any.
func takes(msg proto.Message, name string) bool {
	d := msg.ProtoReflect().Descriptor()
	switch d.ParentFile() {
	case edgev1.File_poterne_edge_v1_openai_proto, edgev1.File_poterne_edge_v1_responses_proto, edgev1.File_poterne_edge_v1_conversationitems_proto:
		return true
	}
	first, _, _ := strings.Cut(name, ".")
	first, _, _ = strings.Cut(first, "[") // a key of a map
	return d.Fields().ByName(protoreflect.Name(first)) != nil || d.Fields().ByJSONName(first) != nil
}

// noQuery refuses query parameters of a call that takes everything in its body,
// where the grpc-gateway would leave them out; OpenAI's paths take any.
func noQuery(r *http.Request) error {
	if r.URL.RawQuery == "" || openAIPath(r.URL.Path) {
		return nil
	}
	names := slices.Sorted(maps.Keys(r.URL.Query()))
	if len(names) == 0 || !queryName(names[0]) {
		return apierr.Invalid("query", "query: this call takes its parameters in the body")
	}
	return apierr.Invalid(names[0], "%s: this call takes its parameters in the body", names[0])
}

// queryName reports whether s looks like a parameter's name.
func queryName(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for _, r := range s {
		if r != '_' && r != '.' && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') {
			return false
		}
	}
	return true
}

package gateway

import (
	"fmt"
	"net/url"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"github.com/grpc-ecosystem/grpc-gateway/v2/utilities"
	"google.golang.org/protobuf/proto"
)

// maxQueryValues bounds the parameters of one request.
const maxQueryValues = 100

// queryParser reads query parameters, and names the one at fault: original
// finds the name at the beginning of the message.
type queryParser struct{ runtime.DefaultQueryParser }

// Parse fills msg.
func (p *queryParser) Parse(msg proto.Message, values url.Values, filter *utilities.DoubleArray) error {
	if len(values) > maxQueryValues {
		return fmt.Errorf("query: must not have more than %d parameters", maxQueryValues)
	}
	for name, v := range values {
		if err := p.DefaultQueryParser.Parse(msg, url.Values{name: v}, filter); err != nil {
			if !queryName(name) {
				name = "query"
			}
			return fmt.Errorf("%s: is not valid here", name)
		}
	}
	return nil
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

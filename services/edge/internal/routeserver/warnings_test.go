package routeserver

import (
	"slices"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"

	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	"github.com/poterne/poterne/services/edge/internal/contract"
	"github.com/poterne/poterne/services/edge/internal/mcphttp"
	"github.com/poterne/poterne/services/edge/internal/route"
)

func TestWhatMayBeWrongIsTold(t *testing.T) {
	s := New(Deps{Task: func(model string) (commonv1.Task, bool) {
		switch model {
		case "chat":
			return commonv1.Task_TASK_CHAT, true
		case "vectors":
			return commonv1.Task_TASK_EMBEDDING, true
		case "unsaid":
			return commonv1.Task_TASK_UNSPECIFIED, true
		}
		name, _ := route.Reference(model)
		return commonv1.Task_TASK_UNSPECIFIED, name == "twin" || name == "split" || name == "away"
	}, Digest: func(model string) string {
		switch model {
		case "chat", "chat@v3", "twin", "twin@old":
			return "sha256:c"
		case "unsaid", "chat@v2":
			return "sha256:" + model
		}
		return ""
	}})
	for name, test := range map[string]struct {
		route route.Route
		want  []string // of each warning; none: there is none
	}{
		"all right":                     {route.Route{Fallback: route.Fallback{Models: []string{"chat", "unsaid"}}}, nil},
		"a model that is not there":     {route.Route{Fallback: route.Fallback{Models: []string{"gone", "chat"}}}, []string{`no model "gone"`}},
		"a fallback for vectors":        {route.Route{Fallback: route.Fallback{Models: []string{"vectors"}}}, []string{`"vectors" is for embedding`}},
		"a mirror to the same":          {route.Route{Match: route.Match{Models: []string{"chat"}}, Mirror: route.Mirror{Model: "chat", Percent: 1}}, []string{`nothing is copied to "chat"`}},
		"a mirror to the route's model": {route.Route{Model: "chat", Match: route.Match{Models: []string{"gone"}}, Mirror: route.Mirror{Model: "chat", Percent: 1}}, []string{`nothing is copied to "chat"`}},
		"a mirror to one of two":        {route.Route{Match: route.Match{Models: []string{"chat", "unsaid"}}, Mirror: route.Mirror{Model: "chat", Percent: 1}}, nil},
		"a mirror for vectors":          {route.Route{Mirror: route.Mirror{Model: "vectors", Percent: 1}}, []string{`"vectors" is for embedding`}},
		"vectors for chats":             {route.Route{Model: "vectors", Match: route.Match{Operations: []route.Operation{route.Chat}}}, []string{`"vectors" is for embedding`}},
		"vectors for vectors":           {route.Route{Model: "vectors", Match: route.Match{Operations: []route.Operation{route.Embed}}}, nil},
		"no path":                       {route.Route{Match: route.Match{Paths: []string{"nonsense", "/v1/chat/*"}}}, []string{`by "nonsense"`}},
		"a path of nobody":              {route.Route{Match: route.Match{Paths: []string{"/v1/chat/completion"}}}, []string{`by "/v1/chat/completion"`}},
		"a path of another":             {route.Route{Match: route.Match{Operations: []route.Operation{route.Embed}, Paths: []string{"/v1/chat/completions"}}}, []string{"for embed comes"}},
		"one collection's":              {route.Route{Match: route.Match{Operations: []route.Operation{route.Search}, Paths: []string{"/v1/collections/handbook:search"}}}, nil},
		"a service":                     {route.Route{Match: route.Match{Paths: []string{"/poterne.edge.v1.OpenAIService/*"}}}, nil},
		"a service that is not":         {route.Route{Match: route.Match{Paths: []string{"/poterne.edge.v1.OpenAI/*"}}}, []string{"OpenAI/"}},
		"models for searches":           {route.Route{Match: route.Match{Operations: []route.Operation{route.Search}, Models: []string{"chat"}}}, []string{"searches name no model"}},
		"a name that is none":           {route.Route{Match: route.Match{Models: []string{"gone"}}}, []string{`match.models: there is no model "gone"`}},
		"a name that is rewritten":      {route.Route{Model: "chat", Match: route.Match{Models: []string{"gone"}}}, nil},
		"a pattern":                     {route.Route{Match: route.Match{Models: []string{"gone*"}}}, nil},
		"a name that falls to others": {route.Route{
			Match: route.Match{Models: []string{"gone"}}, Fallback: route.Fallback{Models: []string{"chat"}, On: []route.Reason{route.ModelNotFound}},
		}, nil},
		"a fallback to its version":     {route.Route{Model: "chat", Fallback: route.Fallback{Models: []string{"twin@old", "unsaid"}}}, []string{`"twin@old" leads to the same version as "chat"`}},
		"a fallback of what is matched": {route.Route{Match: route.Match{Models: []string{"chat"}}, Fallback: route.Fallback{Models: []string{"twin"}}}, []string{`"twin" leads to the same version as "chat"`}},
		"one of those that are matched": {route.Route{Match: route.Match{Models: []string{"chat", "unsaid"}}, Fallback: route.Fallback{Models: []string{"twin"}}}, nil},
		"the same fallback twice":       {route.Route{Match: route.Match{Models: []string{"unsaid"}}, Fallback: route.Fallback{Models: []string{"chat", "twin"}}}, []string{`"twin" leads to the same version as "chat"`}},
		"versions that nobody can tell": {route.Route{Model: "away", Fallback: route.Fallback{Models: []string{"split", "twin"}}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			test.route.Complete()
			got := s.warnings(&test.route)
			if len(got) != len(test.want) {
				t.Fatalf("%q", got)
			}
			for i, w := range test.want {
				if !strings.Contains(got[i], w) {
					t.Errorf("%q", got)
				}
			}
		})
	}
}

// Every way by which a request is said to come is one of the contract.
func TestWaysAreOfTheContract(t *testing.T) {
	known := []string{mcphttp.Path}
	for _, file := range contract.Files() {
		for i := range file.Services().Len() {
			service := file.Services().Get(i)
			for j := range service.Methods().Len() {
				m := service.Methods().Get(j)
				known = append(known, "/"+string(service.FullName())+"/"+string(m.Name()))
				if rule, ok := proto.GetExtension(m.Options(), annotations.E_Http).(*annotations.HttpRule); ok && rule.GetPost() != "" {
					known = append(known, strings.ReplaceAll(rule.GetPost(), "{collection}", "*"))
				}
			}
		}
	}
	for _, o := range route.Operations() {
		if len(ways(o)) == 0 {
			t.Errorf("%s has none", o)
		}
		for _, w := range ways(o) {
			if !slices.Contains(known, w) {
				t.Errorf("%s: %s", o, w)
			}
		}
	}
}

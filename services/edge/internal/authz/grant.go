package authz

import (
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/services/edge/internal/grant"
)

// Actions returns every action that a method needs, by the type of its resource:
// what the scopes of a key may name.
func Actions() grant.Actions {
	out := make(grant.Actions)
	add := func(typ, action string) {
		if !slices.Contains(out[typ], action) {
			out[typ] = append(out[typ], action)
		}
	}
	for _, m := range Table() {
		if m.Access == Checked {
			add(m.Type, m.Action)
		}
	}
	for _, actions := range out {
		slices.Sort(actions)
	}
	return out
}

// CheckGrant refuses the request when the credentials that were shown are not for
// what it needs, whatever their holder may do. The second result names the list
// of the grant that refuses.
func CheckGrant(m Method, g grant.Grant, res Resource, req any) (string, error) {
	if m.Access != Checked || g.Everything() {
		return "", nil
	}
	if list := outside(g, Permission{Type: m.Type, ID: res.ID, Action: m.Action}, listed(req) != nil); list != "" {
		return list, beyondGrant(list, m.Action, res)
	}
	if m.Also == nil {
		return "", nil
	}
	for _, p := range m.Also(req) {
		if list := outside(g, p, false); list != "" {
			return list, beyondGrant(list, p.Action, Resource{Type: p.Type, ID: p.ID})
		}
	}
	return "", nil
}

// CheckForced is CheckGrant for the model that the policy has answer instead of
// the one that is asked for.
func CheckForced(g grant.Grant, v Verdict) (string, error) {
	forced := v.Obligations.Model
	if !v.Allowed || forced == "" || g.Model(bareName(forced)) {
		return "", nil
	}
	return "models", beyondGrant("models", "", Resource{Type: typeModel, ID: bareName(forced)})
}

// outside returns the list of the grant that refuses the permission, or "".
// filtered says that the answer is a list of which only what is granted is left.
func outside(g grant.Grant, p Permission, filtered bool) string {
	if !g.Action(p.Type, p.Action) {
		return "scopes"
	}
	switch kindOf(p.Type) {
	case kindModel:
		if !g.Model(p.ID) && (p.ID != "" || !filtered) {
			return "models"
		}
	case kindModels:
		if len(g.Models) > 0 {
			return "models"
		}
	case kindTrail:
		if len(g.Models) > 0 {
			return "models"
		}
		if len(g.Collections) > 0 {
			return "collections"
		}
	case kindCollection:
		name, _, _ := strings.Cut(p.ID, "/")
		if !g.Collection(name) && (name != "" || !filtered) {
			return "collections"
		}
	case kindOther:
	}
	return ""
}

// kind is what resources of a type are named by.
type kind int

const (
	kindOther kind = iota
	// kindModel resources are models, or belong to one.
	kindModel
	// kindModels resources may tell of every model, or hold parts of any.
	kindModels
	// kindTrail resources tell of every model and every collection.
	kindTrail
	// kindCollection resources are collections, or in one.
	kindCollection
)

func kindOf(typ string) kind {
	switch typ {
	case "collection", "document":
		return kindCollection
	case "model", "registry-model", "registry-version", "registry-variant", "registry-alias", "registry-split",
		"registry-experiment", "registry-rollout", "registry-results":
		return kindModel
	case "registry-prompt":
		return kindOther
	case "worker": // what each has loaded
		return kindModels
	case "audit":
		return kindTrail
	}
	if strings.HasPrefix(typ, "registry-") {
		return kindModels
	}
	return kindOther
}

// beyondGrant is the error for what the credentials are not for. It is the same
// whether there is such a thing or not; who asks for one thing by its name is
// told that there is none, as of any that does not exist.
func beyondGrant(list, action string, res Resource) error {
	if list != "scopes" && action == "get" && res.ID != "" {
		switch res.Type {
		case "model":
			return apierr.New(apierr.ModelNotFound, "there is no model %q", res.ID).WithField("model").WithMetadata("model", res.ID)
		case "collection":
			return apierr.New(apierr.NotFound, "there is no collection %.64q", res.ID)
		}
	}
	what := strings.ReplaceAll(res.Type, "-", " ")
	if list == "scopes" {
		return apierr.New(apierr.PermissionDenied, "the scopes of these credentials do not have %s:%s", res.Type, action).
			WithMetadata("action", action).WithMetadata("resource_type", res.Type)
	}
	return apierr.New(apierr.PermissionDenied, "these credentials are not for that %s: their %s do not cover it", what, list).
		WithMetadata("action", action).WithMetadata("resource_type", res.Type)
}

// listing is where the names are in the answer to a request for a list.
type listing struct {
	field, name protoreflect.Name
	kind        kind
}

// listed returns where the names are in the answer to req; nil when that is no
// list that Narrow knows, and is refused to those who may not see all of it.
func listed(req any) *listing {
	m, ok := req.(proto.Message)
	if !ok {
		return nil
	}
	switch m.ProtoReflect().Descriptor().FullName() {
	case "poterne.edge.v1.ListModelsRequest":
		return &listing{"data", "id", kindModel}
	case "poterne.registry.v1.ListModelsRequest":
		return &listing{"models", "name", kindModel}
	case "inference.RepositoryIndexRequest":
		return &listing{"models", "name", kindModel}
	case "inference.ServerMetadataRequest":
		return &listing{} // names nothing
	case "poterne.edge.v1.SearchRegisteredModelsRequest":
		return &listing{"registered_models", "name", kindModel}
	case "poterne.edge.v1.SearchModelVersionsRequest":
		return &listing{"model_versions", "name", kindModel}
	case "poterne.search.v1.ListCollectionsRequest":
		return &listing{"collections", "id", kindCollection}
	}
	return nil
}

// Narrow leaves in a list, the answer to req, what the credentials are for. A page
// may so be shorter than was asked for; where to go on stays as it is. It changes
// resp.
func Narrow(g grant.Grant, req, resp any) {
	l := listed(req)
	if l == nil || l.field == "" || g.Everything() {
		return
	}
	m, ok := resp.(proto.Message)
	if !ok {
		return
	}
	r := m.ProtoReflect()
	field := r.Descriptor().Fields().ByName(l.field)
	if !r.Has(field) {
		return
	}
	list, covers := r.Mutable(field).List(), g.Model
	if l.kind == kindCollection {
		covers = g.Collection
	}
	kept := 0
	for i := range list.Len() {
		item := list.Get(i).Message()
		if covers(item.Get(item.Descriptor().Fields().ByName(l.name)).String()) {
			list.Set(kept, list.Get(i))
			kept++
		}
	}
	list.Truncate(kept)
}

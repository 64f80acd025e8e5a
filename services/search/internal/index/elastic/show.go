package elastic

import (
	"context"

	"github.com/elastic/go-elasticsearch/v8/esapi"
)

// serving is behind the alias of what serves a collection.
const serving = ".serving"

// Show moves the alias <prefix>-<collection>.serving to the index of that name,
// in one step, for those who look into the cluster. Searches name an index
// themselves, so that they never see two of them.
func (x *Index) Show(ctx context.Context, collection, name string) error {
	x.mu.Lock()
	c := x.open[name]
	x.mu.Unlock()
	if c == nil {
		return errClosed
	}
	c.writing.Lock() // the index is not replaced meanwhile
	defer c.writing.Unlock()
	v, err := c.usable(ctx)
	if err != nil {
		return err
	}
	if v == nil {
		return errNotReplaced
	}
	alias := x.alias(collection) + serving
	// One pattern: each must match an index, and which of them are there is not known.
	body, err := putJSON(object{"actions": []object{
		{"remove": object{"index": x.alias(collection) + "*", "alias": alias, "must_exist": false}},
		{"add": object{"index": v.index, "alias": alias}},
	}})
	if err != nil {
		return err
	}
	if err := x.client.do(ctx, "move the alias", esapi.IndicesUpdateAliasesRequest{Body: body}, nil); err != nil {
		return err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	for other, a := range x.shown {
		if a == alias {
			delete(x.shown, other)
		}
	}
	x.shown[name] = alias
	return nil
}

// showing returns the alias that shows the index of that name; "" for none.
func (x *Index) showing(name string) string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.shown[name]
}

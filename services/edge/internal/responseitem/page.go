package responseitem

import (
	"slices"

	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
)

// defaultLimit is how many items a page has that nobody gave a limit for.
const defaultLimit = 20

// Page returns one page of items, which are given the oldest first, and whether there
// are more: in order "asc", or else the newest first; behind the item of the id after,
// unless that is empty; at most limit of them, 0 for the default.
func Page(items []*edgev1.ResponseItem, order, after string, limit int) (page []*edgev1.ResponseItem, more bool, err error) {
	if order != "asc" {
		slices.Reverse(items)
	}
	if after != "" {
		i := slices.IndexFunc(items, func(item *edgev1.ResponseItem) bool { return item.GetId() == after })
		if i < 0 {
			return nil, false, invalid("after", "there is no such item")
		}
		items = items[i+1:]
	}
	if limit == 0 {
		limit = defaultLimit
	}
	return items[:min(limit, len(items))], len(items) > limit, nil
}

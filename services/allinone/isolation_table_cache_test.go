package allinone

// cacheRequests are those about the response cache.
func cacheRequests() map[string]request {
	return map[string]request{
		"CacheService/PurgeCache":           {json: `{"tenant":"{tenant}"}`},
		"CacheService/PurgeCache+all":       {json: `{"tenant":"*"}`, nothing: allTenants, platform: true},
		"CacheService/PurgeCache+own":       {json: `{"model":"{model}","collection":"{collection}"}`},
		"CacheService/GetCacheStats":        {json: `{"tenant":"{tenant}"}`, reads: true},
		"CacheService/GetCacheStats+all":    {json: `{"tenant":"*"}`, nothing: allTenants, platform: true},
		"CacheService/GetCacheStats+theirs": {nothing: ownOne},
	}
}

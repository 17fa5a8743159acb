package geo

import (
	"slices"
	"strings"
)

// A Region is one region of a cloud provider. Where a region stands is
// published by the provider, so its country is a fact; its coordinates are
// those of the city or area the provider names, good enough to draw a map.
type Region struct {
	Provider    string  // "aws", "gcp" or "azure"
	Code        string  // "eu-west-1"
	Country     string  // ISO 3166-1 alpha-2
	Subdivision string  // "US-CA": state or province (ISO 3166-2), where laws differ by it
	City        string  // the city or area the provider names
	Lon, Lat    float64 // degrees, east and north positive
}

// Jurisdiction returns the short name of the data protection law of the
// region's state or province, if it has one of its own, else of its country, or
// "" if this package does not know of one.
func (r Region) Jurisdiction() string {
	if law, ok := stateLaws[r.Subdivision]; ok {
		return law
	}
	return Jurisdiction(r.Country)
}

// RegionJurisdiction is [Region.Jurisdiction] of the region that [FindRegion]
// finds, or "" if there is none.
func RegionJurisdiction(provider, code string) string {
	r, _ := FindRegion(provider, code)
	return r.Jurisdiction()
}

// RegionCountry returns the country (ISO 3166-1 alpha-2) that a cloud region
// stands in, or "" if the region is not known. An availability zone
// ("eu-west-1a", "europe-west1-b") counts as its region.
func RegionCountry(provider, code string) string {
	r, _ := FindRegion(provider, code)
	return r.Country
}

// regions are the regions of each provider, sorted by code.
var regions = map[string][]Region{"aws": aws, "gcp": gcp, "azure": azure}

// FindRegion returns a region by its provider and code, or false. An empty
// provider is any: no two have a code in common. What is not in the tables is
// not known; nothing is concluded from the parts of a name.
func FindRegion(provider, code string) (Region, bool) {
	if code == "" {
		return Region{}, false
	}
	if provider == "" {
		for p := range regions {
			if r, ok := FindRegion(p, code); ok {
				return r, true
			}
		}
		return Region{}, false
	}
	code = withoutZone(provider, code)
	i, ok := slices.BinarySearchFunc(regions[provider], code, func(r Region, code string) int { return strings.Compare(r.Code, code) })
	if !ok {
		return Region{}, false
	}
	return regions[provider][i], true
}

// withoutZone is the code of the region that a zone is in, and for Azure the
// programmatic name of a region that is written as people read it ("West
// Europe").
func withoutZone(provider, code string) string {
	n := len(code)
	switch provider {
	case "aws": // eu-west-1a
		if n > 1 && code[n-1] >= 'a' && code[n-1] <= 'z' && code[n-2] >= '0' && code[n-2] <= '9' {
			return code[:n-1]
		}
	case "gcp": // europe-west1-b
		if n > 2 && code[n-1] >= 'a' && code[n-1] <= 'z' && code[n-2] == '-' {
			return code[:n-2]
		}
	case "azure":
		if n <= 40 {
			return strings.ToLower(strings.ReplaceAll(code, " ", ""))
		}
	}
	return code
}

// Regions returns all known regions of a provider, sorted by code.
func Regions(provider string) []Region { return slices.Clone(regions[provider]) }

// aws is sorted by code; a test insists. The codes and places are those of
// https://docs.aws.amazon.com/global-infrastructure/latest/regions/aws-regions.html.
var aws = []Region{
	{"aws", "af-south-1", "ZA", "", "Cape Town", 18.42, -33.92},
	{"aws", "ap-east-1", "HK", "", "Hong Kong", 114.17, 22.32},
	{"aws", "ap-east-2", "TW", "", "Taipei", 121.56, 25.03},
	{"aws", "ap-northeast-1", "JP", "", "Tokyo", 139.69, 35.69},
	{"aws", "ap-northeast-2", "KR", "", "Seoul", 126.98, 37.57},
	{"aws", "ap-northeast-3", "JP", "", "Osaka", 135.50, 34.69},
	{"aws", "ap-south-1", "IN", "", "Mumbai", 72.88, 19.08},
	{"aws", "ap-south-2", "IN", "", "Hyderabad", 78.49, 17.39},
	{"aws", "ap-southeast-1", "SG", "", "Singapore", 103.82, 1.35},
	{"aws", "ap-southeast-2", "AU", "", "Sydney", 151.21, -33.87},
	{"aws", "ap-southeast-3", "ID", "", "Jakarta", 106.85, -6.21},
	{"aws", "ap-southeast-4", "AU", "", "Melbourne", 144.96, -37.81},
	{"aws", "ap-southeast-5", "MY", "", "Kuala Lumpur", 101.69, 3.14},
	{"aws", "ap-southeast-6", "NZ", "", "Auckland", 174.76, -36.85},
	{"aws", "ap-southeast-7", "TH", "", "Bangkok", 100.50, 13.76},
	{"aws", "ca-central-1", "CA", "CA-QC", "Montreal", -73.57, 45.50},
	{"aws", "ca-west-1", "CA", "CA-AB", "Calgary", -114.07, 51.05},
	{"aws", "cn-north-1", "CN", "", "Beijing", 116.41, 39.90},
	{"aws", "cn-northwest-1", "CN", "", "Ningxia", 105.19, 37.52},
	{"aws", "eu-central-1", "DE", "", "Frankfurt", 8.68, 50.11},
	{"aws", "eu-central-2", "CH", "", "Zurich", 8.54, 47.37},
	{"aws", "eu-north-1", "SE", "", "Stockholm", 18.07, 59.33},
	{"aws", "eu-south-1", "IT", "", "Milan", 9.19, 45.46},
	{"aws", "eu-south-2", "ES", "", "Aragon", -0.88, 41.65},
	{"aws", "eu-west-1", "IE", "", "Dublin", -6.26, 53.35},
	{"aws", "eu-west-2", "GB", "", "London", -0.13, 51.51},
	{"aws", "eu-west-3", "FR", "", "Paris", 2.35, 48.86},
	{"aws", "eusc-de-east-1", "DE", "", "Brandenburg", 13.06, 52.40},
	{"aws", "il-central-1", "IL", "", "Tel Aviv", 34.78, 32.08},
	{"aws", "me-central-1", "AE", "", "Dubai", 55.27, 25.20},
	{"aws", "me-south-1", "BH", "", "Manama", 50.58, 26.23},
	{"aws", "mx-central-1", "MX", "", "Queretaro", -100.39, 20.59},
	{"aws", "sa-east-1", "BR", "", "Sao Paulo", -46.63, -23.55},
	{"aws", "us-east-1", "US", "US-VA", "Northern Virginia", -77.49, 39.04},
	{"aws", "us-east-2", "US", "US-OH", "Columbus", -82.99, 39.96},
	{"aws", "us-gov-east-1", "US", "US-OH", "Columbus", -82.99, 39.96},
	{"aws", "us-gov-west-1", "US", "US-OR", "Portland", -122.68, 45.52},
	{"aws", "us-west-1", "US", "US-CA", "San Francisco", -122.42, 37.77},
	{"aws", "us-west-2", "US", "US-OR", "Portland", -122.68, 45.52},
}

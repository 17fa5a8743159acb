package geo

import "strings"

// Jurisdiction returns the short name of the data protection law that governs
// personal data in a country (ISO 3166-1 alpha-2), or "" if this package does
// not know of one. It says which rules to look up, and is no legal advice:
// where laws differ inside a country, see [Region.Jurisdiction]; the name is
// that of the country's best known one, and of the US, which has none for all,
// "US-STATE".
func Jurisdiction(country string) string { return laws[country] }

// laws is keyed by country code. The members of the EU and of the EEA share
// one law; so do the French and Spanish regions inside the EU.
var laws = func() map[string]string {
	m := map[string]string{
		"GB": "UK-GDPR", "GG": "DPGL", "JE": "DPJL", "IM": "IM-GDPR", "GI": "GI-GDPR",
		"CH": "FADP", "TR": "KVKK", "RS": "RS-LPDP", "UA": "UA-LPDP", "RU": "152-FZ",
		"US": "US-STATE", "CA": "PIPEDA", "MX": "LFPDPPP", "BR": "LGPD", "AR": "PDPA-AR", "CL": "LPDP-CL",
		"CO": "LAW-1581", "PE": "LAW-29733", "UY": "LAW-18331",
		"CN": "PIPL", "HK": "PDPO", "MO": "MO-PDPA", "TW": "TW-PDPA", "JP": "APPI", "KR": "PIPA",
		"IN": "DPDP", "SG": "SG-PDPA", "MY": "MY-PDPA", "TH": "TH-PDPA", "ID": "UU-PDP", "PH": "DPA-2012", "VN": "PDPD",
		"AU": "APP", "NZ": "NZ-PRIVACY-ACT", "IL": "PPL", "AE": "PDPL-AE", "SA": "PDPL-SA", "QA": "PDPPL", "BH": "PDPL-BH",
		"ZA": "POPIA", "NG": "NDPA", "KE": "KE-DPA", "EG": "EG-PDPL",
	}
	for code := range strings.FieldsSeq("AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IT LT LU LV MT NL PL PT RO SE SI SK IS LI NO AX GF GP MQ RE YT MF") {
		m[code] = "GDPR"
	}
	return m
}()

// stateLaws are the laws of states and provinces that have a general one of
// their own, by ISO 3166-2: of those in which a region stands. The others have
// the country's.
//
// California: California Consumer Privacy Act. Iowa: Consumer Data Protection
// Act. Oregon: Consumer Privacy Act. Texas: Data Privacy and Security Act. Utah:
// Consumer Privacy Act. Virginia: Consumer Data Protection Act. Alberta:
// Personal Information Protection Act. Quebec: Act respecting the protection of
// personal information in the private sector, as Law 25 made it.
var stateLaws = map[string]string{
	"US-CA": "CCPA", "US-IA": "ICDPA", "US-OR": "OCPA", "US-TX": "TDPSA", "US-UT": "UCPA", "US-VA": "VCDPA",
	"CA-AB": "PIPA-AB", "CA-QC": "LAW-25",
}

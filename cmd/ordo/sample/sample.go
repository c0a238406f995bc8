// Package sample is real data for the demo and the tests: a week of a UK
// retailer's orders with the catalogue rows they need, and the catalogue of
// the Luma sample shop, whose products have sizes and colours. SOURCE.md holds
// citation and licence. It decides nothing.
package sample

import _ "embed" // the data is embedded

// OrdersWeek is the trace of 14 to 20 November 2011, gzipped CSV with the
// columns of SOURCE.md.
//
//go:embed orders-week.csv.gz
var OrdersWeek []byte

// CatalogWeek has the catalogue rows of the SKUs in OrdersWeek, gzipped CSV.
//
//go:embed catalog-week.csv.gz
var CatalogWeek []byte

// Luma is a catalogue of 147 products in 1,847 sizes and colours, gzipped CSV.
//
//go:embed luma.csv.gz
var Luma []byte

// Source is SOURCE.md: where the data comes from, and its licences.
//
//go:embed SOURCE.md
var Source string

# Reads items by sf and prints a CSV: a row per file with its columns for SQL, its reference system, its box, and whether
# a search by the box WEST,SOUTH,EAST,NORTH finds it.
#
#     Rscript read_by_sf.R WEST,SOUTH,EAST,NORTH FILE...
suppressMessages(library(sf))
# On the sphere, which is sf's default, the southern edge of a wide box runs along a great circle, far north of its corners.
suppressMessages(sf_use_s2(FALSE))
stated <- c("id", "dataset", "vintage", "version", "is_latest", "deprecated", "doi", "rows", "bytes", "title", "title_fr")
read <- function(file) {
  # Without DATE_AS_STRING a vintage that is a day becomes a date, and the rows can't be put together.
  item <- st_read(file, quiet = TRUE, options = "DATE_AS_STRING=YES")
  stopifnot(nrow(item) == 1, st_is_valid(item))
  item[c(stated, "data_urls")]
}
arguments <- commandArgs(trailingOnly = TRUE)
corners <- as.numeric(strsplit(arguments[1], ",")[[1]])
searched <- st_as_sfc(st_bbox(setNames(corners, c("xmin", "ymin", "xmax", "ymax")), crs = 4326))
items <- do.call(rbind, lapply(arguments[-1], read))
boxes <- t(vapply(st_geometry(items), function(place) as.numeric(st_bbox(place)), numeric(4)))
colnames(boxes) <- c("west", "south", "east", "north")
found <- suppressMessages(lengths(st_intersects(items, searched)) > 0)
rows <- cbind(st_drop_geometry(items)[stated], urls = lengths(items$data_urls), epsg = st_crs(items)$epsg, boxes, found)
options(digits = 17)
write.csv(rows, stdout(), row.names = FALSE, fileEncoding = "UTF-8")
